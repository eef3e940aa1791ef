"""Runs are kept as long as promised and no longer."""

import pytest

from services.router.messages import Run
from services.router.store import LAST_RUNS, MemoryStore

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
