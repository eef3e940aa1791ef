"""Where runs are kept after their end: behind a Protocol, because kept means kept over a crash in a later store."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from services.router.messages import Run

LAST_RUNS = 1000
LAST_RUNS_BYTES = 32_000_000
MOST_KEPT = 10_000
MOST_KEPT_BYTES = 128_000_000
"""Runs that have ended, however young, so that a flood of them does not fill the memory."""


class RunStore(Protocol):
    """Runs by id. An asynchronous run stays for the retention time, of the others the last ones stay."""

    async def add(self, run: Run) -> None: ...

    async def finished(self, run: Run) -> None:
        """The run has its final state."""
        ...

    async def get(self, task_id: str) -> Run | None: ...

    async def recent(self) -> list[Run]:
        """What is kept, newest first."""
        ...


class MemoryStore:
    """Keeps runs as long as the process lives. retention_s counts from a run's end, by a monotonic clock."""

    def __init__(self, retention_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._retention_s = retention_s
        self._clock = clock
        self._running: dict[str, Run] = {}
        self._waited_for = _Shelf(LAST_RUNS, LAST_RUNS_BYTES)
        self._kept = _Shelf(MOST_KEPT, MOST_KEPT_BYTES)

    async def add(self, run: Run) -> None:
        self._running[run.task_id] = run

    async def finished(self, run: Run) -> None:
        del self._running[run.task_id]
        shelf = self._kept if run.kept else self._waited_for
        shelf.put(run, self._clock() + self._retention_s)

    async def get(self, task_id: str) -> Run | None:
        self._kept.forget(self._clock())
        return self._running.get(task_id) or self._kept.get(task_id) or self._waited_for.get(task_id)

    async def recent(self) -> list[Run]:
        self._kept.forget(self._clock())
        runs = [*self._running.values(), *self._kept.runs(), *self._waited_for.runs()]
        return sorted(runs, key=lambda run: run.task_id, reverse=True)


class _Shelf:
    """Runs that have ended, oldest first, at most so many and so heavy; the newest always has a place."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._places: OrderedDict[str, tuple[Run, int, float]] = OrderedDict()

    def put(self, run: Run, until: float) -> None:
        size = _size([run.output, run.metadata, run.warnings])
        self._bytes += size
        self._places[run.task_id] = run, size, until
        while len(self._places) > 1 and (len(self._places) > self._most or self._bytes > self._most_bytes):
            self._drop_oldest()

    def get(self, task_id: str) -> Run | None:
        place = self._places.get(task_id)
        return None if place is None else place[0]

    def runs(self) -> Iterator[Run]:
        return (run for run, _, _ in self._places.values())

    def forget(self, now: float) -> None:
        """Drop what may be dropped by now."""
        while self._places and next(iter(self._places.values()))[2] <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, size, _) = self._places.popitem(last=False)
        self._bytes -= size


def _size(value: Any) -> int:
    """Roughly the bytes that JSON takes in memory."""
    match value:
        case str():
            return 50 + len(value)
        case dict():
            return sum(50 + len(key) + _size(item) for key, item in value.items())
        case list():
            return sum(map(_size, value))
        case _:
            return 20
