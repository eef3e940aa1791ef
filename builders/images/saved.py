"""Takes what `docker save` writes into the store, as it comes: an archive whose layers are not what their names say."""

import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from builders.images.compressing import DamagedError, kind_of, unpacked
from builders.images.layout import BaseImage, Layer, Platform, digest_of
from builders.images.reading import NotAnImageError, checked_config, chunks_of, key_of, layers_of
from builders.images.store import BlobStore
from builders.images.tar import CHUNK_BYTES
from builders.images.untar import BROKEN_TAR, open_tar

_SMALL_BYTES = 1 << 20
"""What is held in memory: which file is what is told by others that come later."""


def read_saved(reference: str, archive: Iterable[bytes], store: BlobStore, platform: Platform) -> BaseImage:
    """The image in what `docker save` writes, by its id. Raises NotAnImageError, and what `archive` raises."""
    members = _Members(store)
    try:
        members.read(archive)
        entries = json.loads(members.small("manifest.json"))
        if len(entries) != 1:
            raise NotAnImageError(f"it holds {len(entries)} images")
        config_bytes = members.small(entries[0]["Config"])
        config = json.loads(config_bytes)
        blobs = [members.layer(path) for path in entries[0]["Layers"]]
        layers = layers_of({"layers": blobs}, config)
        base = BaseImage(reference, digest_of(config_bytes), checked_config(config, platform), layers)
        for layer in base.layers:
            _check(layer, store)
    except (*BROKEN_TAR, KeyError, TypeError, AttributeError):
        raise NotAnImageError("it is no archive of an image, or a broken one") from None
    store.save_base(key_of(base.digest, platform), base)
    return base


def _check(layer: Layer, store: BlobStore) -> None:
    """Raises NotAnImageError for a layer that is not the one that its config tells."""
    found = hashlib.sha256()
    with suppress(DamagedError), store.open(layer.digest) as blob, unpacked(blob, layer.media_type) as tar:
        for chunk in chunks_of(tar):
            found.update(chunk)
    if f"sha256:{found.hexdigest()}" != layer.diff_id:
        raise NotAnImageError("a layer of it is damaged")


class _Members:
    """The files of an archive of an engine: small ones as they are, large ones in the store."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._small: dict[str, bytes] = {}
        self._large: dict[str, tuple[str, int]] = {}
        self._links: dict[str, str] = {}

    def read(self, archive: Iterable[bytes]) -> None:
        with open_tar(_Stream(archive), CHUNK_BYTES) as tar:
            for member in tar:
                if member.issym():
                    self._links[member.name] = _joined(member.name, member.linkname)
                elif member.islnk():
                    self._links[member.name] = member.linkname
                elif (file := tar.extractfile(member)) is not None:
                    if member.size <= _SMALL_BYTES:
                        self._small[member.name] = file.read()
                    else:
                        self._large[member.name] = self._store.keep(chunks_of(file))

    def small(self, name: str) -> bytes:
        """Raises KeyError."""
        return self._small[name]

    def layer(self, name: str) -> dict[str, Any]:
        """What a manifest says about the layer in this file; raises KeyError."""
        name = self._links.get(name, name)
        if name in self._small:
            self._large[name] = self._store.keep((self._small[name],))
        digest, size = self._large[name]
        with self._store.open(digest) as blob:
            return {"digest": digest, "size": size, "mediaType": kind_of(blob.read(4))}


class _Stream(io.RawIOBase):
    """A file made of pieces, to be read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _joined(name: str, target: str) -> str:
    parts: list[str] = []
    for part in [*name.split("/")[:-1], *target.split("/")]:
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
