"""Starts new images once before anybody relies on them, and remembers which of them have proven to work."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.counter import Counter
from builders.images.layout import Image
from builders.images.outputs import load
from builders.images.store import BlobStore
from builders.spec import Built, stored_name
from builders.verifying import UnsoundImage, verify
from compose.commands.build_report import BuildReport
from infra.docker.errors import EngineError
from infra.files import write_private

if TYPE_CHECKING:
    from infra.docker.engine import Engine


@dataclass(frozen=True, slots=True)
class Proofs:
    """The digests of images that have worked, in a folder of the store."""

    folder: Path

    @classmethod
    def of(cls, store: BlobStore) -> "Proofs":
        return cls(store.root / "proven")

    def lacking(self, images: Sequence[Built]) -> list[Built]:
        """Those that nobody has tried yet."""
        return [built for built in images if not self.has(built.image)]

    def has(self, image: Image) -> bool:
        return self._path(image).exists()

    def keep(self, built: Built) -> None:
        write_private(self._path(built.image), built.reference)

    def _path(self, image: Image) -> Path:
        return self.folder / image.digest.removeprefix("sha256:")


def give(engine: "Engine", images: Sequence[Built], store: BlobStore, report: BuildReport) -> dict[str, str]:
    """Have the images in the engine under their references; only what it lacks is sent. Raises UserError.

    Returns what it calls each of them, by the reference, which another build may take from it at any time.
    """
    ids = {}
    for built in images:
        counter = Counter(report, built.spec.name, "giving it to Docker", built.image.size)
        ids[built.reference] = load(built.reference, built.image, store, engine.images, counter.add).id
    return ids


def try_out(
    engine: "Engine", images: Sequence[Built], ids: Mapping[str, str], proofs: Proofs, report: BuildReport
) -> None:
    """Start each image with nothing but itself, and ask it one real request. ids: of `give`.

    Raises UserError for the first that does not work, after what it printed.
    """
    for built in images:
        name = built.spec.name
        report.step(name, "trying it without a network")
        try:
            verdict = verify(engine, built, ids[built.reference])
        except UnsoundImage as error:
            report.lines(name, error.lines)
            raise
        if verdict.untried is not None:
            report.note(name, f"not tried: {verdict.untried}")
            continue
        proofs.keep(built)
        report.note(name, f"works: ready after {verdict.ready_s:.1f} s, and it answers")


def withdraw(images: Sequence[Built], project: Path, store: BlobStore, engine: "Engine") -> None:
    """Take their names from images of a build that failed, so that nobody pushes or starts them."""
    for built in images:
        store.forget_image(stored_name(project, built.reference))
        with contextlib.suppress(EngineError):  # the build tells what went wrong before
            engine.images.untag(built.reference)
