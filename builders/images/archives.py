"""Writes images as one tar that engines and other tools load: an OCI layout with what older engines want beside it."""

import io
import json
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from builders.images.layout import Image, Layer, MediaType, exact_json
from builders.images.reference import Reference
from builders.images.store import BlobStore
from builders.images.tar import CHUNK_BYTES, END, header, padding
from infra.errors import ExitCode, UserError

LAYOUT = exact_json({"imageLayoutVersion": "1.0.0"})
_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


def index_entry(name: str, image: Image) -> dict[str, Any]:
    """How the index of a layout names an image, for skopeo and for containerd."""
    platform = json.loads(image.config)
    return {
        **image.descriptor.to_json(),
        "platform": {key: platform[key] for key in ("os", "architecture", "variant") if key in platform},
        "annotations": {_REF_NAME: name, _FULL_NAME: str(Reference.parse(name))},
    }


def name_of(entry: Mapping[str, Any]) -> str | None:
    """The name in an entry of an index; None when it has none."""
    name = (entry.get("annotations") or {}).get(_REF_NAME)
    return name if isinstance(name, str) else None


def index_of(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """The index of a layout."""
    ordered = sorted(entries, key=lambda entry: (name_of(entry) or "", entry["digest"]))
    return exact_json({"schemaVersion": 2, "mediaType": MediaType.INDEX, "manifests": ordered})


def whole_archive(images: Mapping[str, Image], store: BlobStore) -> Iterator[bytes]:
    """The archive of some images, by name, in pieces; equal images give equal bytes. Raises UserError."""
    yield from _member("index.json", index_of(index_entry(name, image) for name, image in images.items()))
    yield from _member("manifest.json", _engine_manifest(images))
    yield from _member("oci-layout", LAYOUT)
    small = {image.digest: image.manifest for image in images.values()}
    small |= {image.config_descriptor.digest: image.config for image in images.values()}
    for digest, content in sorted(small.items()):
        yield from _member(blob_path(digest), content)
    layers = {layer.digest: layer for image in images.values() for layer in image.layers}
    yield from _layers(layers.values(), store)
    yield END


def partial_archive(name: str, image: Image, layers: Collection[Layer], store: BlobStore) -> Iterator[bytes]:
    """The archive of an image with only these layers, for an engine that has all others. Raises UserError."""
    yield from _member("manifest.json", _engine_manifest({name: image}))
    yield from _member(blob_path(image.config_descriptor.digest), image.config)
    yield from _layers(layers, store)
    yield END


def blob_path(digest: str) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.replace(':', '/')}"


def _engine_manifest(images: Mapping[str, Image]) -> bytes:
    """What engines read that know no OCI layouts: 20.10 to 24."""
    return exact_json(
        [
            {
                "Config": blob_path(image.config_descriptor.digest),
                "RepoTags": [Reference.parse(name).familiar],
                "Layers": [blob_path(layer.digest) for layer in image.layers],
            }
            for name, image in sorted(images.items())
        ]
    )


def _layers(layers: Iterable[Layer], store: BlobStore) -> Iterator[bytes]:
    for layer in sorted(layers, key=lambda layer: layer.digest):
        try:
            with open_layer(layer, store) as blob:
                yield from _file(blob_path(layer.digest), layer.size, blob)
        except OSError as error:  # whoever takes the pieces would think that it is his place or his engine
            raise _unreadable(layer, error) from None


def open_layer(layer: Layer, store: BlobStore) -> BinaryIO:
    """A layer's blob. Raises UserError (exit 4) when it is not in the store any more."""
    try:
        return store.open(layer.digest)
    except FileNotFoundError:
        raise changed(layer) from None


def changed(layer: Layer) -> UserError:
    """What the store has of a layer is not what it was made of."""
    return UserError(
        f"the layer of {layer.purpose} is not what it was: a file that it is made of was changed or removed",
        hint="build again",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _unreadable(layer: Layer, error: OSError) -> UserError:
    return UserError(
        f"the layer of {layer.purpose} cannot be read: {os.strerror(error.errno or 0).lower()}",
        hint="`model-compose build` makes it again",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _member(path: str, content: bytes) -> Iterator[bytes]:
    return _file(path, len(content), io.BytesIO(content))


def _file(path: str, size: int, content: BinaryIO) -> Iterator[bytes]:
    info = tarfile.TarInfo(path)
    info.mode, info.size = 0o644, size
    yield header(info)
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
    yield padding(size)
