"""Hands finished images out of the store: as a folder, as one file, or into an engine."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from builders.images.archives import (
    LAYOUT,
    blob_path,
    changed,
    index_entry,
    index_of,
    name_of,
    open_layer,
    partial_archive,
    whole_archive,
)
from builders.images.blobs import Advance, Begun, ignore, sweep
from builders.images.layout import Image, Layer
from builders.images.reading import chunks_of
from builders.images.space import check_space
from builders.images.store import BlobStore
from infra.errors import ExitCode, UserError
from infra.files import not_writable
from infra.locks import alone_in

_INDEX = "index.json"
_MARK = "oci-layout"


@dataclass(frozen=True, slots=True)
class Output:
    """Where images are to go. place: the folder or the file; None for the engine."""

    kind: Literal["oci", "archive", "docker"]
    place: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `oci:DIR`, `archive:FILE` or `docker`; raises UserError (exit 2)."""
        match text.partition(":"):
            case ["docker", "", ""]:
                return cls("docker")
            case ["oci" | "archive" as kind, ":", place] if place:
                return cls(kind, Path(place).expanduser())
        raise UserError(
            f"{text!r} is no place for images",
            hint="write oci:DIR, archive:FILE or docker",
            exit_code=ExitCode.USAGE,
        )


def write_layout(images: Mapping[str, Image], store: BlobStore, folder: Path, advance: Advance = ignore) -> None:
    """Put images, by name, into the OCI layout `folder`, beside what it holds already.

    The index, which names them, comes last and in one step. Blobs are hard links where the disk allows it.
    advance: called with the bytes of each blob that is there.

    Raises UserError: exit 3 for a folder that holds other things, 4 for one that cannot be written or has no room.
    """
    with _writing(folder):
        _write_layout(images, store, folder, advance)


def _write_layout(images: Mapping[str, Image], store: BlobStore, folder: Path, advance: Advance) -> None:
    layers = {layer.digest: layer for image in images.values() for layer in image.layers}.values()
    blobs = _open_layout(folder)
    check_space(folder, sum(layer.size for layer in layers if not _comes_free(layer, store, folder)))
    for layer in layers:
        _copy(layer, store, folder)
        advance(layer.size)
    for image in images.values():
        for descriptor, content in ((image.descriptor, image.manifest), (image.config_descriptor, image.config)):
            _write(folder / blob_path(descriptor.digest), content, blobs)
    with alone_in(folder):
        entries = {name: index_entry(name, image) for name, image in images.items()}
        others = [entry for entry in _entries(folder) if name_of(entry) not in entries]
        _write(folder / _INDEX, index_of([*others, *entries.values()]), blobs)


def _open_layout(folder: Path) -> Path:
    """Make the folder a layout, which may have no index yet; returns the folder of its blobs."""
    if folder.exists() and not folder.is_dir():
        raise _refused(f"{folder} is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    if not (folder / _MARK).is_file():
        if any(folder.iterdir()):
            raise _refused(f"{folder} is no OCI layout, and not empty")
        _write(folder / _MARK, LAYOUT, folder)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    sweep(blobs)
    return blobs


def _entries(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((folder / _INDEX).read_bytes())["manifests"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise _refused(f"{folder / _INDEX} is broken") from None


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_writable(place, error) from None


def _refused(message: str) -> UserError:
    return UserError(message, hint="choose another place for the images", exit_code=ExitCode.FILE)


def _comes_free(layer: Layer, store: BlobStore, folder: Path) -> bool:
    """Whether the layer takes no room there: it is there, or a link will do."""
    source = store.path(layer.digest)
    linked = source is not None and source.stat().st_dev == folder.stat().st_dev
    return linked or _is_whole(folder / blob_path(layer.digest), layer.size)


def _copy(layer: Layer, store: BlobStore, folder: Path) -> None:
    target = folder / blob_path(layer.digest)
    if _is_whole(target, layer.size):
        return
    source = store.path(layer.digest)
    if source is not None:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    with open_layer(layer, store) as blob, Begun(target.parent) as begun:
        for chunk in chunks_of(blob):
            begun.write(chunk)
        if begun.digest != layer.digest:
            raise changed(layer)
        begun.place(target)


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write(path: Path, content: bytes, scratch: Path) -> None:
    with Begun(scratch) as begun:
        begun.write(content)
        begun.place(path, mode=0o644)


def write_archive(images: Mapping[str, Image], store: BlobStore, file: Path, advance: Advance = ignore) -> str:
    """Write images, by name, into one file that `docker load`, podman and skopeo read; returns its digest.

    The file appears once it is whole; equal images make equal files. advance: called with the bytes that were written.

    Raises UserError: exit 3 for a folder in its place, 4 for a place that cannot be written or has no room.
    """
    if file.is_dir():
        raise _refused(f"{file} is a folder")
    with _writing(file):
        return _write_archive(images, store, file, advance)


def _write_archive(images: Mapping[str, Image], store: BlobStore, file: Path, advance: Advance) -> str:
    folder = file.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    check_space(folder, sum(image.size for image in images.values()))
    with Begun(folder) as begun:
        for chunk in whole_archive(images, store):
            begun.write(chunk)
            advance(len(chunk))
        begun.place(file, mode=0o644)
        return begun.digest


class EngineImages(Protocol):
    """What we ask of an engine about its images."""

    def layers(self) -> Mapping[str, Sequence[str]]:
        """The diff ids of each image that it has, by the image's id."""

    def id(self, reference: str) -> str:
        """Raises UserError when there is no such image."""

    def load(self, archive: Iterable[bytes]) -> None: ...

    def tag(self, image_id: str, name: str) -> None: ...

    def folder(self) -> Path | None:
        """Where it keeps images, if that is on this machine and can be looked at."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an engine was sent: how many layers, and all bytes. id: what it calls the image."""

    id: str
    layers: int
    size: int


def load(name: str, image: Image, store: BlobStore, engine: EngineImages, advance: Advance = ignore) -> Loaded:
    """Have the image in the engine under `name`; only what the engine lacks is sent, where it can do with that.

    advance: called with the bytes that were sent. Raises UserError (exit 4).
    """
    ids = (image.config_descriptor.digest, image.digest)  # engines that keep images in containerd name them so
    if there := _found(ids, engine):
        engine.tag(there, name)
        return Loaded(there, 0, 0)
    known = max((_common(image.layers, diff_ids) for diff_ids in engine.layers().values()), default=0)
    if known:
        missing = image.layers[known:]
        sent = _Counted(partial_archive(name, image, missing, store), advance)
        with contextlib.suppress(UserError):
            engine.load(sent)
            if found := _found(ids, engine):
                return Loaded(found, len(missing), sent.size)
    folder = engine.folder()
    if folder is not None:
        check_space(folder, 2 * image.size)  # the engine unpacks the archive first, and then its layers
    sent = _Counted(whole_archive({name: image}, store), advance)
    engine.load(sent)
    found = _found(ids, engine)
    if found is None:
        raise UserError(
            f"the Docker engine has made another image of {name}",
            hint="update Docker, or take the image from an archive or a registry",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return Loaded(found, len(image.layers), sent.size)


def _found(ids: Iterable[str], engine: EngineImages) -> str | None:
    """The one of an image's ids that the engine has; its name may be another build's by now."""
    for image_id in ids:
        with contextlib.suppress(UserError):
            return engine.id(image_id)
    return None


def _common(layers: Sequence[Layer], diff_ids: Sequence[str]) -> int:
    """How many layers at the beginning an image shares with another one."""
    pairs = zip((layer.diff_id for layer in layers), diff_ids, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class _Counted(Iterable[bytes]):
    """Pieces whose bytes are counted as they are taken."""

    def __init__(self, pieces: Iterable[bytes], advance: Advance) -> None:
        self._pieces = pieces
        self._advance = advance
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            self._advance(len(piece))
            yield piece
