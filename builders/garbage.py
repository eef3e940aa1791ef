"""Finds what of the user's store no image needs whose project is still there, and removes it."""

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Final

from builders.images.layout import Layer
from builders.images.space import store_explained
from builders.images.store import BlobStore, DigestError
from builders.spec import stored_project
from infra.locks import only_one

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "images": ("images/images",),
    "layers": ("images/blobs/sha256", "images/composed/sha256"),
    "weights": ("weights/files",),
    "records": (
        *(f"images/{kind}" for kind in ("layers", "bases", "found", "history", "proven", "pushed", "locks")),
        "weights/seen",
    ),
    "left behind": ("images/begun", "work"),
}
"""Every folder of the user's cache that builds fill, by what people call its entries; in this order they go."""
_BROKEN: Final = (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, DigestError)
"""What comes of a record that was cut short, or that points to something that is gone."""


@dataclass(frozen=True, slots=True)
class Heap:
    """Files and folders of one kind that nobody needs. size: bytes that are free once they are gone."""

    kind: str
    paths: tuple[Path, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """All heaps, in the order in which they go.

    gone: projects whose folder is no more, and how many images each had. needed: by what an engine may call the images
    that stay: the digests of their configs and of their manifests.
    """

    heaps: tuple[Heap, ...] = ()
    gone: Mapping[Path, int] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()


def prune(
    store: BlobStore, *, everything: bool = False, dry: bool = False, waiting: Callable[[], None] = lambda: None
) -> Garbage:
    """Remove what nobody needs, and tell what that was; builds that run are waited for, and others wait meanwhile.

    An image stays as long as the folder is there that it was built in, and with it all that it is made of. Whatever is
    removed is made again when it is wanted. Killed at any moment, it leaves all that is needed whole.

    everything: no image stays. dry: only tell. waiting: called before it waits.
    Raises UserError (exit 4) for what the disk refuses.
    """
    cache = store.root.parent
    if not store.root.exists():
        return Garbage()
    with store_explained(cache), only_one(store.lock, waiting):
        marks = _Marks(store)
        if not everything:
            marks.mark()
        heaps = tuple(_heaps(cache, marks.paths))
        for path in (path for heap in heaps for path in heap.paths if not dry):
            _remove(path)
    return Garbage(heaps, dict(marks.gone), frozenset(marks.ids))


class _Marks:
    """What stays. paths: of files. ids, gone: see `Garbage`."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._weights = store.root.parent / "weights"
        self._diff_ids: set[str] = set()
        self.paths: set[Path] = {store.root.parent / "work" / "lock"}
        self.ids: set[str] = set()
        self.gone: Counter[Path] = Counter()

    def mark(self) -> None:
        """Whatever points to something comes before that."""
        root = self._store.root
        _each(root / "images", self._image)
        _each(root / "layers", lambda path, layer: self._layers(path, [layer]))
        _each(root / "bases", lambda path, base: self._layers(path, base["layers"]))
        _each(root / "pushed", self._pushed)
        _each(root / "composed" / "sha256", self._composed)
        _each(self._weights / "seen", self._seen)
        self.paths |= set(_entries(root / "found"))  # some bytes each, and they do not say for what

    def _image(self, path: Path, image: Any) -> None:
        project = stored_project(image["name"])
        if not _is_there(project):
            self.gone[project] += 1
            return
        manifest = image["manifest"]
        config = json.loads(self._store.read(manifest))["config"]["digest"]
        layers = [Layer.from_json(layer) for layer in image["layers"]]
        self.ids |= {manifest, config}
        self._diff_ids |= {layer.diff_id for layer in layers}
        self._blobs([manifest, config, *(layer.digest for layer in layers)])
        root = self._store.root
        self.paths |= {path, root / "history" / path.name, root / "proven" / manifest.removeprefix("sha256:")}

    def _layers(self, path: Path, layers: Sequence[Mapping[str, Any]]) -> None:
        """A record of layers that images have, perhaps as they are once they are compressed."""
        if layers and all(layer["diffId"] in self._diff_ids for layer in layers):
            self.paths |= {path, self._store.root / "locks" / path.name}
            self._blobs([layer["digest"] for layer in layers])

    def _blobs(self, digests: Sequence[str]) -> None:
        root = self._store.root
        self.paths |= {root / kind / digest.replace(":", "/") for kind in ("blobs", "composed") for digest in digests}

    def _pushed(self, path: Path, pushed: Any) -> None:
        if pushed["built"] in self.ids:
            self.paths.add(path)

    def _composed(self, path: Path, parts: Any) -> None:
        if path in self.paths:
            self.paths |= {self._weights / "files" / Path(part["path"]).name for part in parts if "path" in part}

    def _seen(self, path: Path, seen: Any) -> None:
        if self._weights / "files" / seen["sha256"] in self.paths:
            self.paths.add(path)


def _each(folder: Path, take: Callable[[Path, Any], None]) -> None:
    """Show all records of a folder; one that is broken is as good as none."""
    for path in _entries(folder):
        with contextlib.suppress(*_BROKEN):
            take(path, json.loads(path.read_bytes()))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_there(project: Path) -> bool:
    try:
        project.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # nothing that we may look at, which is no proof that it is gone
        return True
    return True


def _heaps(cache: Path, needed: set[Path]) -> Iterator[Heap]:
    for kind, folders in _KINDS.items():
        paths = tuple(path for folder in folders for path in _entries(cache / folder) if path not in needed)
        if paths:
            yield Heap(kind, paths, sum(map(_freed_by, paths)))


def _freed_by(path: Path) -> int:
    """Bytes; none for a file that has other names, such as weights in the hub's cache."""
    with contextlib.suppress(FileNotFoundError):  # who begins to write something asks nobody
        found = path.lstat()
        if S_ISDIR(found.st_mode):
            return sum(map(_freed_by, path.iterdir()))
        return found.st_size if found.st_nlink == 1 else 0
    return 0


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
