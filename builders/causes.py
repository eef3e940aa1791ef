"""Why a layer was made, or was not: what it is made of, compared with what it was made of the last time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builders.images.layout import digest_of, exact_json
from infra.files import write_private


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a layer is made of.

    purpose: what it is for, as `docker history` shows it; another one in each layer of an image.
    parts: each ingredient, as a reader calls it, and what it is, or a digest of it.
    """

    purpose: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for layers with the same content, whatever for."""
        return digest_of(exact_json(dict(self.parts)))


@dataclass(frozen=True, slots=True)
class History:
    """The recipes of the last build of each image, in a folder of ours; losing it costs only sentences."""

    folder: Path

    def last(self, reference: str) -> Mapping[str, Mapping[str, str]]:
        """The parts of each layer by its purpose; empty when the image was never built."""
        try:
            value: Mapping[str, Mapping[str, str]] = json.loads(self._path(reference).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value

    def keep(self, reference: str, recipes: Sequence[Recipe]) -> None:
        """Remember them; nothing is written when nothing has changed."""
        now = {recipe.purpose: dict(recipe.parts) for recipe in recipes}
        if now != self.last(reference):
            write_private(self._path(reference), json.dumps(now))

    def _path(self, reference: str) -> Path:
        return self.folder / digest_of(reference.encode()).removeprefix("sha256:")


def cause(recipe: Recipe, last: Mapping[str, Mapping[str, str]], *, reused: bool) -> str:
    """In a few words, for a line behind the layer. last: the recipes of the image's last build."""
    before = last.get(recipe.purpose)
    if before == recipe.parts:
        return "nothing in it has changed" if reused else "it was no longer in the store"
    if reused:
        return "another image has it" if before is None else "an earlier build has it"
    if before is None:
        return "not built before"
    changed = [name for name in {**before, **recipe.parts} if before.get(name) != recipe.parts.get(name)]
    return f"{_listed(changed)} changed"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
