"""Where runs are kept after their end: behind a Protocol, because kept means kept over a crash in a later store."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from services.router.messages import Run

LAST_RUNS = 1000
MOST_KEPT = 10_000
"""Asynchronous runs that have ended, however young, so that a flood of them does not fill the memory."""


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
        self._waited: OrderedDict[str, Run] = OrderedDict()
        self._kept: dict[str, Run] = {}
        self._ends: OrderedDict[str, float] = OrderedDict()

    async def add(self, run: Run) -> None:
        self._forget()
        if run.kept:
            self._kept[run.task_id] = run
            return
        self._waited[run.task_id] = run
        if len(self._waited) > LAST_RUNS:
            self._waited.popitem(last=False)

    async def finished(self, run: Run) -> None:
        if run.kept:
            self._ends[run.task_id] = self._clock() + self._retention_s

    async def get(self, task_id: str) -> Run | None:
        self._forget()
        return self._kept.get(task_id) or self._waited.get(task_id)

    async def recent(self) -> list[Run]:
        self._forget()
        return sorted([*self._kept.values(), *self._waited.values()], key=lambda run: run.task_id, reverse=True)

    def _forget(self) -> None:
        now = self._clock()
        while self._ends and (len(self._ends) > MOST_KEPT or next(iter(self._ends.values())) <= now):
            task_id, _ = self._ends.popitem(last=False)
            del self._kept[task_id]
