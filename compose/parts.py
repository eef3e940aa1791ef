"""The parts of a task's image that a cluster may put together itself: what they are, and what they are called."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from builders.container import own_labels
from builders.images.layout import Image
from builders.splitting import split
from compose.images import repository
from infra.docker.container import project_name

if TYPE_CHECKING:
    from compose.loader import Loaded

_SHOWN: Final = 12
"""Digits of a digest, enough to tell the sets of one project apart."""


@dataclass(frozen=True, slots=True)
class Part:
    """An image beside those of the services. name: of its repository, without a registry, as that of a service."""

    name: str
    tag: str
    image: Image


@dataclass(frozen=True, slots=True)
class Parts:
    """weights: named by what they are, so that tasks share them. task: the rest. link: see `Split`."""

    weights: Part
    task: Part
    link: bytes


def parts_of(loaded: "Loaded", service: str, image: Image, tag: str) -> Parts | None:
    """image: as it was built, under that tag. None for one without weights, such as the router's."""
    found = split(image)
    if found is None:
        return None
    digest, architecture = own_labels(image)["weights"], json.loads(image.config)["architecture"]
    return Parts(
        Part(f"{project_name(loaded.directory)}/weights", f"{digest[:_SHOWN]}-{architecture}", found.weights),
        Part(repository(loaded, service), f"{tag}-without-weights", found.task),
        found.link,
    )
