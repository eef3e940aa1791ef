"""The last runs whose clients waited for them: in memory, because nobody was promised more."""

from collections import OrderedDict
from typing import Any

from services.router.messages import Run

LAST_RUNS = 1000
LAST_RUNS_BYTES = 32_000_000


class LastRuns:
    """Runs that have ended, at most so many and so heavy; the newest always has a place."""

    def __init__(self) -> None:
        self._bytes = 0
        self._places: OrderedDict[str, tuple[Run, int]] = OrderedDict()

    def put(self, run: Run) -> None:
        size = _size([run.output, run.metadata, run.warnings])
        self._bytes += size
        self._places[run.task_id] = run, size
        while len(self._places) > 1 and (len(self._places) > LAST_RUNS or self._bytes > LAST_RUNS_BYTES):
            _, (_, dropped) = self._places.popitem(last=False)
            self._bytes -= dropped

    def get(self, task_id: str) -> Run | None:
        place = self._places.get(task_id)
        return None if place is None else place[0]

    def all(self) -> list[Run]:
        """Those that ended first come first."""
        return [run for run, _ in self._places.values()]


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
