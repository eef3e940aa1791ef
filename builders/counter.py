"""Tells who watches a build how far a step is that counts its bytes."""

import threading
import time
from typing import Final

from builders.spec import Listener

_BETWEEN_S: Final = 0.1
"""Between two words of one step; a layer comes in thousands of pieces."""


class Counter:
    """Counts the bytes of one step, from any thread. image: as `Listener` has it.

    total_bytes: all that will come; while it is 0, nobody knows, and nothing is told but the step.
    """

    def __init__(self, listener: Listener, image: str, what: str, total_bytes: int = 0) -> None:
        self._listener, self._image, self._what = listener, image, what
        self._lock = threading.Lock()
        self._bytes = 0
        self._told_at = 0.0
        self.expect(total_bytes)

    def expect(self, total_bytes: int) -> None:
        """Set the total once it is known."""
        with self._lock:
            self._total_bytes = total_bytes
            self._tell()

    def add(self, count: int) -> None:
        """Count bytes that are done; negative ones have to be done again."""
        with self._lock:
            self._bytes += count
            if self._bytes >= self._total_bytes > 0 or time.monotonic() - self._told_at >= _BETWEEN_S:
                self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        progress = min(max(self._bytes / self._total_bytes, 0.0), 1.0) if self._total_bytes else None
        self._listener.step(self._image, self._what, progress)
