"""Takes images that others wrote into the store: OCI layouts, archives of engines, and root file systems as a tar."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from builders.images.compressing import DamagedError, kind_of, unpacked
from builders.images.layout import (
    BaseImage,
    Descriptor,
    ImageConfig,
    Layer,
    MediaType,
    Platform,
    digest_of,
    is_digest,
    layer_media_type,
)
from builders.images.store import BlobStore, DigestError
from builders.images.tar import CHUNK_BYTES

PURPOSE = "base"
"""What the history of an image says about the layers of its base; how the base was named depends on the machine."""

INDEXES = {MediaType.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
MANIFESTS = {MediaType.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"}
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SMALL_BYTES = 1 << 20
_MOST_BYTES = 4 << 20
"""Of a manifest or a config: what registries accept at least."""


class NotAnImageError(Exception):
    """What was read is no image that we can build on; the text is a clause that says why."""


def choose_manifest(index: Mapping[str, Any], platform: Platform) -> Mapping[str, Any]:
    """The entry of an index that is for `platform`; an only one need not say what it is for.

    Raises NotAnImageError.
    """
    entries = [
        entry
        for entry in index.get("manifests") or ()
        if entry.get("mediaType") in INDEXES | MANIFESTS
        and "vnd.docker.reference.type" not in (entry.get("annotations") or {})
    ]
    named = [entry for entry in entries if entry.get("platform")]
    found = [entry for entry in named if Platform.from_json(entry["platform"]).serves(platform)]
    if not named and len(entries) == 1:
        return dict(entries[0])
    if not found:
        have = ", ".join(sorted({str(Platform.from_json(entry["platform"])) for entry in named})) or "nothing"
        raise NotAnImageError(f"it holds no image for {platform}, but {have}")
    if len({entry["digest"] for entry in found}) > 1:
        raise NotAnImageError(f"it holds several images for {platform}")
    return dict(found[0])


def layers_of(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of a manifest and its config, as we write them. Raises NotAnImageError."""
    blobs = manifest.get("layers") or ()
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or ()
    if len(blobs) != len(diff_ids) or not blobs:
        raise NotAnImageError("its manifest and its config do not tell the same layers")
    layers = []
    for blob, diff_id in zip(blobs, diff_ids, strict=True):
        media_type = layer_media_type(blob.get("mediaType", ""))
        if media_type is None:
            raise NotAnImageError(f"it has a layer of the kind {blob.get('mediaType')!r}")
        if not is_digest(blob["digest"]) or not is_digest(diff_id):
            raise NotAnImageError("it has a blob whose digest is none of SHA-256")
        layers.append(Layer(blob["digest"], diff_id, blob["size"], media_type, PURPOSE))
    return tuple(layers)


def checked_config(config: Mapping[str, Any], platform: Platform) -> ImageConfig:
    """What to take over of a base's config; raises NotAnImageError for one of another platform."""
    found = ImageConfig.from_json(config)
    if not found.platform.serves(platform):
        raise NotAnImageError(f"it is an image for {found.platform}, not for {platform}")
    return found


def read_layout(reference: str, folder: Path, store: BlobStore, platform: Platform) -> BaseImage:
    """The image for `platform` in an OCI layout. Raises NotAnImageError and OSError."""
    if not (folder / "oci-layout").is_file():
        raise NotAnImageError("it is no OCI layout, for it holds no file oci-layout")
    layout = _Layout(folder, store)
    try:
        found: Mapping[str, Any] = choose_manifest(json.loads((folder / "index.json").read_bytes()), platform)
        while found["mediaType"] in INDEXES:
            found = choose_manifest(json.loads(layout.small(found)), platform)
        if (base := store.base(key_of(found["digest"], platform))) is not None:
            return BaseImage(reference, base.digest, base.config, base.layers)
        manifest = json.loads(layout.small(found))
        config = json.loads(layout.small(manifest["config"]))
        base = BaseImage(reference, found["digest"], checked_config(config, platform), layers_of(manifest, config))
        for layer in base.layers:
            layout.keep(layer.descriptor)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotAnImageError("its index, manifest or config is broken") from None
    store.save_base(key_of(base.digest, platform), base)
    return base


@dataclass(frozen=True, slots=True)
class _Layout:
    """The blobs of a layout, believed only where their content is what their name says."""

    folder: Path
    store: BlobStore

    def small(self, descriptor: Mapping[str, Any]) -> bytes:
        with self._open(descriptor["digest"]) as blob:
            content = blob.read(_MOST_BYTES)
        if digest_of(content) != descriptor["digest"]:
            raise NotAnImageError(f"its blob {descriptor['digest']} is damaged")
        return content

    def keep(self, descriptor: Descriptor) -> None:
        if self.store.has(descriptor.digest, descriptor.size):
            return
        with self._open(descriptor.digest) as blob:
            try:
                self.store.keep(chunks_of(blob), descriptor.digest)
            except DigestError:
                raise NotAnImageError(f"its blob {descriptor.digest} is damaged") from None

    def _open(self, digest: str) -> BinaryIO:
        if not is_digest(digest):
            raise NotAnImageError(f"{digest!r} is no digest of SHA-256")
        try:
            return (self.folder / "blobs" / digest.replace(":", "/")).open("rb")
        except FileNotFoundError:
            raise NotAnImageError(f"its blob {digest} is absent") from None


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
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError):
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
        with tarfile.open(fileobj=_Stream(archive), mode="r|", bufsize=CHUNK_BYTES) as tar:
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


def read_root(reference: str, file: Path, store: BlobStore, platform: Platform) -> BaseImage:
    """A root file system as the only layer of an image; the tar may be packed by gzip, bzip2 or xz.

    Raises NotAnImageError and OSError.
    """
    with file.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    if (base := store.base(key_of(digest, platform))) is not None:
        return BaseImage(reference, base.digest, base.config, base.layers)
    try:
        with tarfile.open(file) as tar:
            names = {name.removeprefix("./").strip("/") for name in tar.getnames()}
        if "usr" not in names:
            raise NotAnImageError("it is a tar, but not one of a root file system, for it has no folder usr")
        with _unpacked(file) as tar_bytes:
            diff_id, size = store.keep(chunks_of(tar_bytes))
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error):
        raise NotAnImageError("it is no tar, or a broken one") from None
    except OSError as error:
        if error.errno is not None:  # gzip and bz2 have none for bytes that they cannot read
            raise
        raise NotAnImageError("it is no tar, or a broken one") from None
    layer = Layer(diff_id, diff_id, size, MediaType.LAYER, PURPOSE)
    base = BaseImage(reference, digest, ImageConfig(platform, {"PATH": _ROOT_PATH}), (layer,))
    store.save_base(key_of(digest, platform), base)
    return base


def _unpacked(file: Path) -> BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    with file.open("rb") as content:
        begin = content.read(6)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if begin.startswith(b"BZh"):
        return bz2.open(file)
    if begin.startswith(b"\xfd7zXZ"):
        return lzma.open(file)
    return file.open("rb")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def chunks_of(file: _Readable) -> Iterator[bytes]:
    """The rest of a file, piece by piece."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


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


def key_of(digest: str, platform: Platform) -> str:
    """What the store knows a base image by."""
    return f"{digest} {platform}"
