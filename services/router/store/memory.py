"""The last runs whose clients waited for them: in memory, because nobody was promised more."""

from collections import OrderedDict

from services.router.messages import Run
from services.writing import weight

LAST_RUNS = 1000
LAST_RUNS_BYTES = 32_000_000


class LastRuns:
    """Runs that have ended, at most so many and so heavy; the newest always has a place."""

    def __init__(self) -> None:
        self._bytes = 0
        self._places: OrderedDict[str, tuple[Run, int]] = OrderedDict()

    def put(self, run: Run) -> None:
        size = weight([run.output, run.metadata, run.warnings])
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
