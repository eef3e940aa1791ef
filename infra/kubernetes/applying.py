"""What of a tree can be applied: base, overlays, and the base with one component or with all that fit together."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.kubernetes.kustomization import Files
from infra.kubernetes.objects import Manifest
from infra.kubernetes.rendering import rendered, rendered_with

COMPONENTS: Final = "components/"
EITHER: Final = (("gateway", "ingress"), ("servicemonitor", "prometheus"))
"""One of each pair is taken: the second would bring objects twice."""


def applied(folders: Mapping[str, Files]) -> dict[str, list[Manifest]]:
    """The objects of each, by its name: a folder of the tree, or those of several components with spaces between."""
    parts = [folder for folder in folders if folder.startswith(COMPONENTS)]
    alone = {folder: rendered(folders, folder) for folder in folders if folder not in parts}
    with_parts = {" ".join(some): rendered_with(folders, *some) for some in ((each,) for each in parts)}
    return alone | with_parts | {" ".join(some): rendered_with(folders, *some) for some in _together(parts)}


def _together(parts: list[str]) -> Iterator[tuple[str, ...]]:
    """All components at once, without one or without the other one of those of which only one is taken."""
    for left_out in zip(*EITHER, strict=True):
        yield tuple(part for part in parts if part.removeprefix(COMPONENTS) not in left_out)
