"""How blobs are written, whole or not at all, and read where they only refer to files that lie elsewhere."""

import contextlib
import fcntl
import hashlib
import io
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from builders.images.compressing import Compression, compressor
from builders.images.layout import Layer
from builders.images.tar import CHUNK_BYTES, ChangedError
from infra.locks import alone_in

Advance = Callable[[int], None]
"""Is told of bytes that were done."""

_BEGUN = ".model-compose-begun-"
_NOT_OURS = (FileNotFoundError, BlockingIOError, PermissionError, IsADirectoryError)
"""What comes of a begun file that is gone meanwhile, or held, or another user's, and of a folder of such a name."""


def ignore(_: int) -> None:
    """An Advance for whom nobody watches."""


class Begun:
    """A file that is being written; unless it was placed, it is gone when the block is left.

    It is locked as long as its process lives, so that `sweep` can tell what a killed one left.
    """

    def __init__(self, folder: Path) -> None:
        with alone_in(folder):
            self._file = tempfile.NamedTemporaryFile(dir=folder, prefix=_BEGUN, delete=False, buffering=0)  # noqa: SIM115 (closed by __exit__)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._path = Path(self._file.name)
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._sha256.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return f"sha256:{self._sha256.hexdigest()}"

    def place(self, target: Path, mode: int = 0o444) -> None:
        """Let the file appear at `target`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.chmod(mode)
        self._path.replace(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


def sweep(folder: Path) -> None:
    """Remove what processes that are gone had begun in `folder`, which may be one of the user's."""
    with alone_in(folder):
        for path in folder.glob(f"{_BEGUN}*"):
            with contextlib.suppress(*_NOT_OURS), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


@dataclass(frozen=True, slots=True)
class Extern:
    """A part of a blob that is a whole file elsewhere, known again by its size in bytes and its time of change."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        found = path.stat()
        return cls(path.absolute(), found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Raises FileNotFoundError when the file is gone or another one."""
        if Extern.of(self.path) != self:
            raise FileNotFoundError(self.path)


Part = bytes | Extern


def size_of(parts: Sequence[Part]) -> int:
    """Of a blob of these parts, in bytes."""
    return sum(len(part) if isinstance(part, bytes) else part.size for part in parts)


def parts_to_json(parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [
        {"bytes": b64encode(part).decode()}
        if isinstance(part, bytes)
        else {"path": str(part.path), "size": part.size, "mtimeNs": part.mtime_ns}
        for part in parts
    ]


def parts_from_json(values: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Raises FileNotFoundError when a file that a part stands for has changed."""
    parts: list[Part] = []
    for value in values:
        if "bytes" in value:
            parts.append(b64decode(value["bytes"]))
        else:
            parts.append(part := Extern(Path(value["path"]), value["size"], value["mtimeNs"]))
            part.check()
    return parts


class ComposedBlob(io.RawIOBase):
    """Reads parts one after the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = iter(parts)
        self._current: BinaryIO = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not (count := self._current.readinto(buffer)):  # type: ignore[attr-defined] # both kinds have it
            part = next(self._parts, None)
            if part is None:
                return 0
            self._current.close()
            self._current = io.BytesIO(part) if isinstance(part, bytes) else part.path.open("rb", buffering=0)
        return int(count)

    def close(self) -> None:
        self._current.close()
        super().close()


class LayerWriter:
    """Takes the tar of a layer into a file, compressed on the way. Small pieces are gathered: a tar has thousands."""

    def __init__(self, begun: Begun, compression: Compression, advance: Advance = ignore) -> None:
        self._begun = begun
        self._advance = advance
        self._compression = compression
        self._compressor = compressor(compression)
        self._tar = hashlib.sha256()
        self._gathered = bytearray()

    def write(self, data: bytes | memoryview, /) -> None:
        if len(data) < CHUNK_BYTES:
            self._gathered += data
        if len(self._gathered) >= CHUNK_BYTES or len(data) >= CHUNK_BYTES:
            self._drain()
        if len(data) >= CHUNK_BYTES:
            self._take(data)
        self._advance(len(data))

    def _drain(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        self._take(gathered)

    def _take(self, data: bytes | bytearray | memoryview) -> None:
        if self._compressor is None:
            self._begun.write(data)
        else:
            self._tar.update(data)
            self._begun.write(self._compressor.compress(data))

    def write_file(self, source: Path, size: int, /) -> None:
        for chunk in _chunks(source, size):
            self.write(chunk)

    def finish(self, purpose: str) -> Layer:
        """The layer that was written; its file is still to be placed."""
        self._drain()
        if self._compressor is not None:
            self._begun.write(self._compressor.flush())
        diff_id = self._begun.digest if self._compressor is None else f"sha256:{self._tar.hexdigest()}"
        return Layer(self._begun.digest, diff_id, self._begun.size, self._compression.media_type, purpose)


class LayerComposer:
    """Takes the tar of a layer as its parts: the files stay where they are and are only read to be hashed."""

    def __init__(self, advance: Advance = ignore) -> None:
        self._advance = advance
        self._sha256 = hashlib.sha256()
        self._between = bytearray()
        self._parts: list[Part] = []

    def write(self, data: bytes, /) -> None:
        self._sha256.update(data)
        self._between += data

    def write_file(self, source: Path, size: int, /) -> None:
        part = Extern.of(source)
        for chunk in _chunks(source, size):
            self._sha256.update(chunk)
            self._advance(len(chunk))
        self._end_bytes()
        self._parts.append(part)

    def finish(self, purpose: str) -> tuple[Layer, list[Part]]:
        """The layer and its parts. Raises ChangedError."""
        self._end_bytes()
        for part in self._parts:
            if isinstance(part, Extern):
                try:
                    part.check()
                except FileNotFoundError:
                    raise ChangedError(part.path) from None
        digest = f"sha256:{self._sha256.hexdigest()}"
        return Layer(digest, digest, size_of(self._parts), Compression.NONE.media_type, purpose), self._parts

    def _end_bytes(self) -> None:
        if self._between:
            self._parts.append(bytes(self._between))
            self._between.clear()


def _chunks(source: Path, size: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(size, CHUNK_BYTES)))
    with source.open("rb", buffering=0) as file:
        while size:
            count = file.readinto(buffer[:size])
            if not count:
                raise ChangedError(source)
            yield buffer[:count]
            size -= count
        if file.read(1):
            raise ChangedError(source)
