"""Keeps blobs by their digest and finished layers by what they were made of, so that nothing is made or read twice."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from builders.hub_cache import own_cache
from builders.images.blobs import (
    Advance,
    Begun,
    ComposedBlob,
    LayerComposer,
    LayerWriter,
    Part,
    ignore,
    parts_from_json,
    parts_to_json,
    size_of,
    sweep,
)
from builders.images.compressing import Compression
from builders.images.layout import BaseImage, Image, Layer, MediaType, is_digest
from builders.images.space import check_space, store_explained
from builders.images.tar import CHUNK_BYTES, ChangedError, File, Tree, content_size, write_tar
from infra.errors import ExitCode, UserError
from infra.locks import not_alone, only_one

CACHE_VARIABLE = "MODEL_COMPOSE_CACHE"
T = TypeVar("T")


class DigestError(Exception):
    """A blob that came is not the one that was asked for."""


_BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError, DigestError)
"""What comes of a record that was cut short or edited."""
_FORMAT = 1
"""Part of every layer's key; raised when `write_tar` or a compressor begins to write other bytes."""


class BlobStore:
    """Blobs and layers below one folder, shared by all projects of a user and by builds that run side by side.

    A file appears under its name once it is whole. What a killed build had begun is removed by the next one.

        blobs/sha256/HEX      a blob
        composed/sha256/HEX   a blob told as its parts: bytes, and files that lie elsewhere
        layers/HEX            which layer was made of what has this digest
        images/HEX            an image by the digest of its name
        pushed/HEX            what a registry has by a name
        bases/HEX             a base image by what pins it
        found/HEX             what was found out once
        begun/                what is being written
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """The user's own: MODEL_COMPOSE_CACHE, else a folder in the user's cache. Raises UserError without a home."""
        named = environ.get(CACHE_VARIABLE)
        return cls((Path(named).absolute() if named else own_cache(environ)) / "images")

    @property
    def lock(self) -> Path:
        """Held beside others by whoever adds to the store, and alone by whoever removes from it."""
        return self.root / "lock"

    @contextmanager
    def in_use(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Nobody removes anything from the store inside the block, which may be entered again within itself.

        tell: is told what it waits for. Raises UserError for what the disk refuses inside, as `store_explained` does.
        """
        with store_explained(self.root.parent), not_alone(self.lock, lambda: tell("waiting for a prune that runs")):
            yield

    def layer(
        self,
        key: str,
        make: Callable[[], Tree],
        *,
        purpose: str,
        compression: Compression = Compression.NONE,
        mtime: int = 0,
        advance: Advance = ignore,
        waiting: Callable[[], None] = lambda: None,
    ) -> tuple[Layer, bool]:
        """The layer of what `make` returns, and whether it was there already.

        key: says all that the content depends on; `make` is not called where a layer of this key is whole. Whoever else
        wants the same layer meanwhile waits for it. advance: called with the number of bytes that were read. waiting:
        called before it waits for who makes the same layer.

        Raises UserError: exit 3 for a tree that no layer can hold or that changes meanwhile, 4 for a disk that is too
        small; OSError for what else the disk refuses.
        """
        name = _hex(f"{_FORMAT}\n{compression}\n{mtime}\n{key}")
        with only_one(self.root / "locks" / name, waiting):
            known = self._known_layer(name, purpose)
            if known is not None:
                return known, True
            layer = self._write_layer(make(), purpose, compression, mtime, advance)
            self._remember("layers", name, layer.to_json())
            return layer, False

    def compressed(self, layer: Layer, compression: Compression) -> Layer:
        """The same layer, compressed: made once, then kept. One that is compressed already stays as it is.

        Raises UserError (exit 4) for a disk that is too small, FileNotFoundError, OSError.
        """
        if layer.media_type != MediaType.LAYER or compression is Compression.NONE:
            return layer
        name = _hex(f"{_FORMAT}\n{compression}\n{layer.diff_id}")
        with not_alone(self.lock), only_one(self.root / "locks" / name):
            known = self._known_layer(name, layer.purpose)
            if known is not None:
                return known
            check_space(self.root, layer.size)
            with self.open(layer.digest) as tar, self._begin() as begun:
                writer = LayerWriter(begun, compression)
                while chunk := tar.read(CHUNK_BYTES):
                    writer.write(chunk)
                found = writer.finish(layer.purpose)
                begun.place(self._blob(found.digest))
            self._remember("layers", name, found.to_json())
            return found

    def _known_layer(self, name: str, purpose: str) -> Layer | None:
        layer = self._recall("layers", name, lambda value: Layer.from_json({**value, "purpose": purpose}))
        return layer if layer is not None and self.has(layer.digest, layer.size) else None

    def _write_layer(self, tree: Tree, purpose: str, compression: Compression, mtime: int, advance: Advance) -> Layer:
        try:
            if compression is Compression.NONE and _lasts(tree):
                composer = LayerComposer(advance)
                write_tar(tree, composer, mtime=mtime)
                layer, parts = composer.finish(purpose)
                self._write(self._composed(layer.digest), json.dumps(parts_to_json(parts)).encode())
                return layer
            check_space(self.root, content_size(tree))
            with self._begin() as begun:
                writer = LayerWriter(begun, compression, advance)
                write_tar(tree, writer, mtime=mtime)
                layer = writer.finish(purpose)
                begun.place(self._blob(layer.digest))
                return layer
        except ChangedError as error:
            raise UserError(
                f"{error.path} was changed while it was read into an image",
                hint="build again once nobody writes to it",
                exit_code=ExitCode.FILE,
            ) from None

    def put(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        return self.keep((content,))[0]

    def keep(self, chunks: Iterable[bytes], expected: str | None = None) -> tuple[str, int]:
        """Keep a blob that comes in pieces; returns its digest and size.

        expected: the digest that it should have; another one raises DigestError, and nothing is kept. Raises UserError
        (exit 4) as soon as the disk has no room for more.
        """
        with self._begin() as begun:
            for chunk in chunks:
                check_space(self.root, len(chunk))  # nobody knows how long it gets, least of all where it is unpacked
                begun.write(chunk)
            if expected not in (None, begun.digest):
                raise DigestError(f"expected {expected}, got {begun.digest}")
            begun.place(self._blob(begun.digest))
            return begun.digest, begun.size

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is here, whole as far as its size and the files that it refers to tell."""
        try:
            found = self.size(digest)
        except FileNotFoundError:
            return False
        return size in (None, found)

    def digests(self) -> set[str]:
        """Of all blobs that are files here."""
        return {f"sha256:{path.name}" for path in (self.root / "blobs" / "sha256").glob("*")}

    def size(self, digest: str) -> int:
        """In bytes; raises FileNotFoundError."""
        path = self.path(digest)
        return size_of(self._parts(digest)) if path is None else path.stat().st_size

    def path(self, digest: str) -> Path | None:
        """The file that is this blob, never to be written to; None when it is absent or composed."""
        path = self._blob(digest)
        return path if path.is_file() else None

    def open(self, digest: str) -> BinaryIO:
        """The content of a blob, from its beginning on; raises FileNotFoundError."""
        path = self.path(digest)
        if path is not None:
            return path.open("rb")
        return io.BufferedReader(ComposedBlob(self._parts(digest)), CHUNK_BYTES)

    def read(self, digest: str) -> bytes:
        """A small blob; raises FileNotFoundError."""
        with self.open(digest) as blob:
            return blob.read()

    def _parts(self, digest: str) -> list[Part]:
        record = self._composed(digest)
        try:
            return parts_from_json(json.loads(record.read_bytes()))
        except _BROKEN:
            raise FileNotFoundError(record) from None

    def save_image(self, name: str, image: Image) -> None:
        """Keep manifest and config, and remember the image under its name in one step."""
        self.put(image.config)
        manifest = self.put(image.manifest)
        layers = [layer.to_json() for layer in image.layers]
        self._remember("images", _hex(name), {"name": name, "manifest": manifest, "layers": layers})

    def image(self, name: str) -> Image | None:
        """The image of that name; None when there is none, or not all of it."""
        return self._recall("images", _hex(name), self._image)

    def _image(self, value: Mapping[str, Any]) -> Image | None:
        manifest = self.read(value["manifest"])
        config = self.read(json.loads(manifest)["config"]["digest"])
        layers = tuple(Layer.from_json(layer) for layer in value["layers"])
        return Image(manifest, config, layers) if all(self.has(layer.digest, layer.size) for layer in layers) else None

    def forget_image(self, name: str) -> None:
        """Let there be no image of that name; its blobs stay."""
        (self.root / "images" / _hex(name)).unlink(missing_ok=True)

    def save_pushed(self, reference: str, built: str, digest: str) -> None:
        """Remember what a registry has. reference: `REGISTRY/NAME:TAG`; built, digest: of the manifest here and there,
        which differ where layers were compressed on the way, or where a part of the image is there."""
        self._remember("pushed", _hex(reference), {"reference": reference, "built": built, "digest": digest})

    def pushed(self, reference: str, built: str) -> str | None:
        """The digest there of the image whose manifest here has the digest `built`; None unless it was pushed last."""
        return self._recall(
            "pushed", _hex(reference), lambda value: str(value["digest"]) if value["built"] == built else None
        )

    def save_base(self, key: str, base: BaseImage) -> None:
        """Remember a base image whose layers are here. key: what pins it, its platform included."""
        self._remember("bases", _hex(key), base.to_json())

    def base(self, key: str) -> BaseImage | None:
        """The base image of that key, when all of it is here."""
        base = self._recall("bases", _hex(key), BaseImage.from_json)
        return base if base and all(self.has(layer.digest, layer.size) for layer in base.layers) else None

    def found(self, question: str, find: Callable[[], str]) -> str:
        """What `find` returns, which is asked once for a question whose answer never changes."""
        name = _hex(question)
        known = self._recall("found", name, lambda value: str(value["answer"]))
        if known is not None:
            return known
        answer = find()
        self._remember("found", name, {"answer": answer})
        return answer

    def _begin(self) -> Begun:
        folder = self.root / "begun"
        folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            sweep(folder)
            self._swept = True
        return Begun(folder)

    def _write(self, path: Path, content: bytes) -> None:
        with self._begin() as begun:
            begun.write(content)
            begun.place(path)

    def _remember(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        self._write(self.root / kind / name, json.dumps(value).encode())

    def _recall(self, kind: str, name: str, read: Callable[[dict[str, Any]], T | None]) -> T | None:
        """What was remembered, as `read` understands it; a record that is broken counts as absent."""
        try:
            return read(json.loads((self.root / kind / name).read_bytes()))
        except (FileNotFoundError, *_BROKEN):
            return None

    def _blob(self, digest: str) -> Path:
        return self.root / "blobs" / _checked(digest).replace(":", "/")

    def _composed(self, digest: str) -> Path:
        return self.root / "composed" / _checked(digest).replace(":", "/")


def _lasts(tree: Tree) -> bool:
    """Whether a layer may refer to its files: it has some, and all of them stay."""
    files = [entry for entry in tree.values() if isinstance(entry, File) and isinstance(entry.source, Path)]
    return bool(files) and all(file.lasting for file in files)


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise DigestError(f"{digest!r} is not a digest of SHA-256")
    return digest


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
