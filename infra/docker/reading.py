"""How far the output of a service's containers was read, by the engine's own clock: nothing is lost or told twice."""

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from infra.files import open_private

_MARGIN_S: Final = 0.001
"""The engine counts nanoseconds, and a float cannot hold them; what comes twice so is left out here."""


class Reading:
    """Takes the engine's time stamps off the lines, and lines out that were read before.

    Lines of the two streams of a container come slightly out of order, so what is new is judged for a request as a
    whole.

    path: keeps the last stamp for whoever takes the container over. resume: go on from there.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self._read = self._before = ""
        self._stamp = b""
        self._current: str | None = None
        if resume:
            with contextlib.suppress(OSError):
                self._read = path.read_text(encoding="ascii")
        self._file = open_private(path)
        self.begin()
        self.save()

    @property
    def since_s(self) -> float | None:
        """From where on to ask: seconds of the engine's clock; None for the start."""
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(self._read).timestamp() - _MARGIN_S
        return None

    def begin(self) -> None:
        """The next piece begins with a line, for the engine is asked anew."""
        self._stamp, self._current, self._before = b"", None, self._read

    def feed(self, data: bytes) -> bytes:
        """What is new in a piece, without stamps."""
        new = bytearray()
        while data:
            if self._current is None:
                part, space, data = data.partition(b" ")
                self._stamp += part
                if space:
                    self._current, self._stamp = self._stamp.decode("ascii", errors="replace"), b""
            else:
                text, newline, data = data.partition(b"\n")
                new += text + newline if self._current > self._before else b""
                if newline:
                    self.end()
        return bytes(new)

    def end(self) -> None:
        """The line is whole."""
        self._read = max(self._current or "", self._read)
        self._current = None

    def save(self) -> None:
        """All whole lines are told. A full disk makes the next run tell some of them again, and nothing else."""
        with contextlib.suppress(OSError, ValueError):  # the latter: it is closed, and a late word of ours was told
            os.pwrite(self._file.fileno(), self._read.encode("ascii", errors="replace"), 0)

    def close(self) -> None:
        self._file.close()
