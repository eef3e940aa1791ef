"""Reads tars that others wrote, however large and however broken they are."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, Protocol, Self, cast

_EXTENDED: Final = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
_MOST_HEADER_BYTES: Final = 1 << 20
_MOST_ENDS: Final = 2
"""Of a tar that lacks its last blocks, tarfile asks for the padding of a file and for a header."""
BROKEN_TAR: Final = (tarfile.TarError, ValueError, OverflowError, RecursionError)
"""What reading a tar ends in that is none: tarfile believes the numbers in it, and calls itself for each header."""


class _Member(tarfile.TarInfo):
    """One whose extended header, which tarfile holds in memory, has a bound."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _EXTENDED and member.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError("an extended header is too large")
        return member


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Finite:
    """A file that ends once: tarfile skips as many bytes as a header says, however far behind the end that is."""

    def __init__(self, content: _Readable) -> None:
        self._content = content
        self._ends = 0

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        self._ends += not data
        if self._ends > _MOST_ENDS:
            raise tarfile.ReadError("it ends too early")
        return data


@contextmanager
def open_tar(content: _Readable, buffer_bytes: int = tarfile.RECORDSIZE) -> Iterator[tarfile.TarFile]:
    """The members of a tar, each to be read once, in order. Raises BROKEN_TAR from within the block."""
    finite = cast("IO[bytes]", _Finite(content))
    with tarfile.open(fileobj=finite, mode="r|", bufsize=buffer_bytes, tarinfo=_Member) as tar:
        yield tar


def path_of(member: tarfile.TarInfo) -> str:
    """Where it belongs below the root, however that is spelled: `usr/bin/sh`."""
    return "/".join(part for part in member.name.split("/") if part not in ("", "."))
