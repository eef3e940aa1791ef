"""Finds texts in everything that a command leaves behind or shows while it runs, however it is packed."""

import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import zstandard

_DEEPEST = 6
_BETWEEN_S = 0.01


def leaks(secrets: Mapping[str, str], folder: Path) -> set[tuple[str, str]]:
    """Which secret stands where below a folder: in names, links and contents, however they are packed."""
    needles = {name: secret.encode() for name, secret in secrets.items()}
    return {
        (name, place)
        for path in folder.rglob("*")
        for place, content in _contents(path, folder)
        for name, needle in needles.items()
        if needle in content or needle in place.encode(errors="surrogateescape")
    }


def _contents(path: Path, folder: Path) -> Iterator[tuple[str, bytes]]:
    place = str(path.relative_to(folder))
    if path.is_symlink():
        yield place, os.fsencode(path.readlink())
    elif path.is_file():
        yield from _unpacked(place, path.read_bytes())
    else:
        yield place, b""


def _unpacked(place: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The content, and whatever is in it if it is an archive or compressed."""
    yield place, content
    assert depth < _DEEPEST, f"{place} is packed too often"
    if content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                inner = file.read() if file else member.linkname.encode()
                yield from _unpacked(f"{place}!{member.name}", inner, depth + 1)
    elif content.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _unpacked(f"{place}!{name}", archive.read(name), depth + 1)
    elif content.startswith(b"\x1f\x8b\x08"):
        yield from _unpacked(f"{place}!gzip", gzip.decompress(content), depth + 1)
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _unpacked(f"{place}!zstd", zstandard.ZstdDecompressor().stream_reader(content).read(), depth + 1)


class CommandLines:
    """Every command line that the machine shows meanwhile: `with CommandLines() as seen: ...`, then `seen.all`."""

    def __init__(self) -> None:
        self.all: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="command-lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_BETWEEN_S):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (process / "cmdline").read_bytes()
                except OSError:
                    continue  # it has ended meanwhile
                self.all.add(line.replace(b"\0", b" ").decode(errors="replace"))
