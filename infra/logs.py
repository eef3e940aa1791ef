"""Log files of the services: one line in, capped, time-stamped and rotated; the last lines, or new ones, out."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from infra.files import open_private

MAX_LINE_BYTES = 8_192
MAX_FILE_BYTES = 10_000_000
FILE_COUNT = 3
FOLLOW_INTERVAL_S = 0.2

_CUT_MARK = " ... (cut)"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class LineSplitter:
    """Turns bytes that come in any pieces into lines of text that a terminal can show safely.

    Lines longer than MAX_LINE_BYTES are cut, so that an endless line takes no memory. Escape sequences are dropped. Of
    a line that is rewritten by carriage returns (a progress bar) the last state is kept.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._keep(end)
            lines.append(self._take())
        self._keep(rest)
        return lines

    def close(self) -> list[str]:
        """The last line, where it has no line end."""
        return [self._take()] if self._rest else []

    def _keep(self, data: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._rest)
        self._cut = self._cut or len(data) > room
        self._rest += data[:room]

    def _take(self) -> str:
        text = self._rest.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
        line = _CONTROL.sub("", text) + (_CUT_MARK if self._cut else "")
        self._rest.clear()
        self._cut = False
        return line


class LogFile:
    """Appends time-stamped lines to `path`; older lines move to `path.1`, `path.2` and out."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None

    def write(self, line: str) -> None:
        """A full disk loses lines, and nothing else."""
        data = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {line}\n".encode(errors="replace")
        try:
            if self._file is None:
                self._file = open_private(self._path, append=True)
            if self._file.tell() + len(data) > self._max_bytes:
                self._rotate()
            self._file.write(data)
        except OSError:
            self.close()

    def _rotate(self) -> None:
        self.close()
        for newer, older in reversed(list(itertools.pairwise(_numbers(self._path)))):
            if newer.exists():
                newer.replace(older)
        self._file = open_private(self._path, append=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True, order=True)
class LogLine:
    """One line of one service; `time` is ISO 8601 in UTC, so lines of several services sort by it."""

    time: str
    service: str
    text: str


def services_with_logs(folder: Path) -> list[str]:
    """The names that have a log in `folder`, sorted."""
    return sorted(path.name.removesuffix(".log") for path in folder.glob("*.log"))


def tail(folder: Path, services: Sequence[str], count: int | None) -> list[LogLine]:
    """The last `count` lines of each service (None: all that is kept), merged by time."""
    return _last(_readers(folder, services), count)


def follow(folder: Path, services: Sequence[str], count: int | None) -> Iterator[LogLine | None]:
    """The same lines, then new ones as they are written, for ever; None whenever there was a pause without any."""
    readers = _readers(folder, services)
    yield from _last(readers, count)
    while True:
        lines = sorted(line for reader in readers for line in reader.read())
        yield from lines
        if not lines:
            yield None
            time.sleep(FOLLOW_INTERVAL_S)


def _readers(folder: Path, services: Sequence[str]) -> "list[_Reader]":
    return [_Reader(folder / f"{service}.log", service) for service in services]


def _last(readers: "list[_Reader]", count: int | None) -> list[LogLine]:
    kept = (reader.read() for reader in readers)
    return sorted(line for lines in kept for line in (lines if count is None else lines[max(0, len(lines) - count) :]))


class _Reader:
    """Reads one log from its oldest line on, and on over rotations."""

    def __init__(self, path: Path, service: str) -> None:
        self._path = path
        self._service = service
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def read(self) -> list[LogLine]:
        """The lines since the last call; in the first, all that are kept."""
        pieces: list[bytes] = []
        newest: tuple[int, int] | None = None
        seen: set[int] = set()
        for path in _numbers(self._path):  # newest first: a file that moves meanwhile is met again, never missed
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode in seen:
                    continue
                seen.add(inode)
                file.seek(self._offset if inode == self._inode else 0)
                pieces.append(file.read())
                newest = newest or (inode, file.tell())
                if inode == self._inode:
                    break
        self._inode, self._offset = newest or (self._inode, self._offset)
        whole, newline, self._rest = (self._rest + b"".join(reversed(pieces))).rpartition(b"\n")
        return self._parse(whole + newline)

    def _parse(self, data: bytes) -> list[LogLine]:
        split = (line.partition(" ") for line in data.decode(errors="replace").splitlines())
        return [LogLine(stamp, self._service, text) for stamp, _, text in split]


def _numbers(path: Path) -> list[Path]:
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, FILE_COUNT))]
