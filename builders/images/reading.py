"""Takes images that others wrote into the store: OCI layouts, and root file systems as a tar."""

import bz2
import gzip
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

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
from builders.images.untar import BROKEN_TAR, open_tar, path_of

PURPOSE = "base"
"""What the history of an image says about the layers of its base; how the base was named depends on the machine."""

INDEXES = {MediaType.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
MANIFESTS = {MediaType.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"}
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_BYTES = 4 << 20
"""Of a manifest or a config: what registries accept at least."""


BROKEN_JSON = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading JSON ends in that is not what it should be."""


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
        layers.append(Layer(blob["digest"], diff_id, checked_size(blob), media_type, PURPOSE))
    return tuple(layers)


def checked_size(descriptor: Mapping[str, Any]) -> int:
    """In bytes; raises NotAnImageError for what is no size, and KeyError without one."""
    size = descriptor["size"]
    if type(size) is not int or size < 0:
        raise NotAnImageError("it has a blob whose size is no number of bytes")
    return size


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
    except BROKEN_JSON:
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
                _, size = self.store.keep(chunks_of(blob), descriptor.digest)
            except DigestError:
                raise NotAnImageError(f"its blob {descriptor.digest} is damaged") from None
        if size != descriptor.size:
            raise NotAnImageError(f"its blob {descriptor.digest} is not of the size that its manifest says")

    def _open(self, digest: str) -> BinaryIO:
        if not is_digest(digest):
            raise NotAnImageError(f"{digest!r} is no digest of SHA-256")
        try:
            return (self.folder / "blobs" / digest.replace(":", "/")).open("rb")
        except FileNotFoundError:
            raise NotAnImageError(f"its blob {digest} is absent") from None


def read_root(reference: str, file: Path, store: BlobStore, platform: Platform) -> BaseImage:
    """A root file system as the only layer of an image; the tar may be packed by gzip, bzip2 or xz.

    Raises NotAnImageError and OSError.
    """
    with file.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    if (base := store.base(key_of(digest, platform))) is not None:
        return BaseImage(reference, base.digest, base.config, base.layers)
    try:
        with _unpacked(file) as tar_bytes, open_tar(tar_bytes) as tar:
            top = {path_of(member).partition("/")[0] for member in tar}
        if "usr" not in top:
            raise NotAnImageError("it is a tar, but not one of a root file system, for it has no folder usr")
        with _unpacked(file) as tar_bytes:
            diff_id, size = store.keep(chunks_of(tar_bytes))
    except (*BROKEN_TAR, EOFError, lzma.LZMAError, zlib.error):
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


def key_of(digest: str, platform: Platform) -> str:
    """What the store knows a base image by."""
    return f"{digest} {platform}"
