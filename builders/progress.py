"""How a long step tells the process that started it how far it is: one JSON object a line on standard output."""

import json
import sys
import threading
import time
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from infra.errors import UserError

INTERVAL_S = 0.15
"""Between two lines; a terminal wants one every 0.2 s."""

_SETTLED_S = 1.0
"""Before that much time has passed, a rate says nothing about the rest."""

Stage = Literal["downloading", "loading"]


class Progress:
    """Prints where the work stands, at once on each stage and then steadily until it is left.

    A line is `{"stage", "bytes", "total_bytes", "progress" (0 to 1), "seconds_left"}`; the last three only where the
    total is known.
    """

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stdout
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self.begin("downloading")

    def begin(self, stage: Stage, total_bytes: int | None = None, done_bytes: int = 0) -> None:
        """Enter a stage. done_bytes: what an earlier run left, which says nothing about the speed of this one."""
        with self._lock:
            self._stage = stage
            self._total_bytes = total_bytes
            self._bytes = self._bytes_before = done_bytes
            self._started = time.monotonic()
        self._print()

    def add(self, count: int) -> None:
        """Count bytes that came; negative when they turned out to be useless."""
        with self._lock:
            self._bytes += count

    def snapshot(self) -> dict[str, Any]:
        """The line that would be printed now."""
        with self._lock:
            line: dict[str, Any] = {"stage": self._stage, "bytes": max(self._bytes, 0)}
            if self._total_bytes:
                line["total_bytes"] = self._total_bytes
                line["progress"] = round(min(max(self._bytes / self._total_bytes, 0.0), 1.0), 4)
                elapsed = time.monotonic() - self._started
                came = self._bytes - self._bytes_before
                if elapsed >= _SETTLED_S and came > 0:
                    line["seconds_left"] = round(max(self._total_bytes - self._bytes, 0) * elapsed / came)
        return line

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        self._print()

    def _run(self) -> None:
        while not self._left.wait(INTERVAL_S):
            self._print()

    def _print(self) -> None:
        print(json.dumps(self.snapshot()), file=self._output, flush=True)


def print_error(error: UserError, output: TextIO | None = None) -> None:
    """The last line of a step that failed."""
    reason = {"message": error.message, "hint": error.hint}
    print(json.dumps({"error": reason}, ensure_ascii=False), file=output or sys.stdout, flush=True)
