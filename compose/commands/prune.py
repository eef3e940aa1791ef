"""`prune`: free the space of images that nobody needs any more, here and in the engine."""

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass

from builders.container import OWN_LABELS
from builders.garbage import prune as prune_store
from builders.images.store import BlobStore
from compose.output import Console, columns, count
from infra.docker.errors import EngineError
from infra.docker.images import Unused
from infra.sizes import size


@dataclass(frozen=True, slots=True)
class Freed:
    """A line of the table. size: bytes."""

    what: str
    number: int
    size: int


def prune(console: Console, *, everything: bool, dry: bool) -> None:
    """Print a table of what was removed, or with `dry` of what would be. Raises UserError.

    everything: also what images need whose projects are there.
    """
    console.status("looking for what nobody needs")
    waiting = "waiting for a build or a push to end"
    garbage = prune_store(
        BlobStore.of(os.environ), everything=everything, dry=dry, waiting=lambda: console.say(waiting)
    )
    for project, images in sorted(garbage.gone.items()):
        console.say(f"{project} is gone, and had {count(images, 'image')}")
    rows = [Freed(heap.kind, len(heap.paths), heap.size) for heap in garbage.heaps]
    console.status("asking Docker for images without a name")
    rows += _prune_engine(garbage.needed, console, dry=dry)
    console.status("")
    if not rows:
        console.result("there is nothing to remove")
        return
    table = [("WHAT", "NUMBER", "SIZE"), *((row.what, str(row.number), size(row.size)) for row in rows)]
    total = size(sum(row.size for row in rows))
    console.result(f"{columns(table)}\n\n{f'{total} would be freed' if dry else f'freed {total}'}")


def _prune_engine(needed: Collection[str], console: Console, *, dry: bool) -> list[Freed]:
    """Images of ours without a name. needed: the ids of those that stay all the same: another folder took the name."""
    from infra.docker.engine import connect

    removed: list[Unused] = []
    try:
        with contextlib.closing(connect()) as engine:
            for image in engine.images.unused(OWN_LABELS):
                if image.id in needed:
                    continue
                if dry or engine.images.remove(image.id):
                    removed.append(image)
    except EngineError as error:
        console.say(f"{'no more' if removed else 'nothing'} is removed from Docker: {error.message}")
    return [Freed("in Docker", len(removed), sum(image.size for image in removed))] if removed else []
