"""Of the runs that were waited for the last ones stay, as far as there is room."""

import pytest

from services.router.messages import Run
from services.router.store.memory import LAST_RUNS, LAST_RUNS_BYTES, LastRuns

pytestmark = pytest.mark.unit


def run_of(task_id: str) -> Run:
    return Run(task_id, "w", "r", kept=False)


def test_the_last_ones_stay() -> None:
    runs = LastRuns()
    for index in range(LAST_RUNS + 1):
        runs.put(run_of(f"{index:05}"))
    assert runs.get("00000") is None
    assert [run.task_id for run in runs.all()] == [f"{index:05}" for index in range(1, LAST_RUNS + 1)]


def test_large_runs_push_older_ones_out_sooner() -> None:
    runs = LastRuns()
    text = "x" * (LAST_RUNS_BYTES // 4)
    for index in range(10):
        run = run_of(str(index))
        run.output, run.metadata = {"answers": [text]}, {"note": text}
        runs.put(run)
    assert [run.task_id for run in runs.all()] == ["9"]
    runs.put(run_of("small"))
    assert [run.task_id for run in runs.all()] == ["9", "small"]
