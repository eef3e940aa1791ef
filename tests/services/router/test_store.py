"""Runs are kept as long as promised and no longer."""

import pytest

from services.router.messages import Run
from services.router.store import LAST_RUNS, LAST_RUNS_BYTES, MOST_KEPT_BYTES, MemoryStore

pytestmark = pytest.mark.unit


def run_of(task_id: str, kept: bool) -> Run:
    return Run(task_id, "w", "r", kept=kept)


async def test_asynchronous_runs_stay_for_the_retention_time_after_their_end() -> None:
    now = 0.0
    store = MemoryStore(10, clock=lambda: now)
    first, second = run_of("1", True), run_of("2", True)
    await store.add(first)
    await store.add(second)
    now = 100.0
    await store.finished(first)
    now = 109.0
    assert await store.get("1") is first
    now = 110.0
    assert await store.get("1") is None
    assert await store.get("2") is second


async def test_of_the_others_the_last_ones_stay() -> None:
    store = MemoryStore(10)
    for index in range(LAST_RUNS + 1):
        run = run_of(f"{index:05}", False)
        await store.add(run)
        await store.finished(run)
    assert await store.get("00000") is None
    assert await store.get("00001") is not None
    recent = await store.recent()
    assert (len(recent), recent[0].task_id) == (LAST_RUNS, f"{LAST_RUNS:05}")


@pytest.mark.parametrize(("kept", "most"), [(False, LAST_RUNS_BYTES), (True, MOST_KEPT_BYTES)])
async def test_large_runs_push_older_ones_out_sooner(kept: bool, most: int) -> None:
    store = MemoryStore(10)
    text = "x" * (most // 4)
    for index in range(10):
        run = run_of(str(index), kept)
        run.output, run.metadata = {"answers": [text]}, {"note": text}
        await store.add(run)
        await store.finished(run)
    assert [run.task_id for run in await store.recent()] == ["9"]
    small = run_of("small", kept)
    await store.add(small)
    await store.finished(small)
    assert [run.task_id for run in await store.recent()] == ["small", "9"]


async def test_a_run_that_has_not_ended_stays_whatever_ends_meanwhile() -> None:
    store = MemoryStore(10)
    running = run_of("running", False)
    await store.add(running)
    for index in range(LAST_RUNS + 1):
        run = run_of(f"{index:05}", False)
        await store.add(run)
        await store.finished(run)
    assert await store.get("running") is running
