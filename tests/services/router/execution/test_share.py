"""A run that asks much at once waits for itself, and is never refused because of itself."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.router.execution import calls
from services.wire import Done, TaskRequest
from tests.services.router.engines import Bench, FakeTask, MemoryJournal, ask, do, echo, until
from tests.services.router.rig import workflow

pytestmark = pytest.mark.unit

NARROW: Any = {"max_concurrent_count": 1, "max_queue_length": 2}


async def slowly(request: TaskRequest, on_delta: OnDelta | None) -> Done:
    await asyncio.sleep(0)
    return await echo(request, on_delta)


def wide(count: int = 70) -> Any:
    """Many jobs at once, and as many items."""
    jobs = [ask(f"j{number}", str(number)) for number in range(count)]
    items = [str(number) for number in range(count)]
    each = {"id": "each", "type": "for-each", "input": items, "batch_size": count, "do": do("${item}")}
    return workflow("wide", *jobs, each, output="${jobs.each.output}")


@pytest.mark.parametrize(
    ("component", "most"),
    [(NARROW, 1), ({**NARROW, "max_concurrent_count": 3}, 3), ({}, 32), ({"max_queue_length": 1}, 1)],
)
async def test_a_run_is_not_refused_because_of_its_own_calls(component: Any, most: int) -> None:
    task = FakeTask(slowly)
    outcome = await Bench(task, wide(), **component).run()
    assert (outcome.output, len(task.requests), task.most) == ([str(number) for number in range(70)], 140, most)


async def test_several_such_runs_share_a_component() -> None:
    task = FakeTask(slowly)
    bench = Bench(task, wide(10), **NARROW)
    outcomes = await asyncio.gather(*[bench.run() for _ in range(3)])
    assert [len(outcome.output) for outcome in outcomes] == [10, 10, 10]


async def test_a_run_whose_first_call_finds_no_room_is_refused() -> None:
    late = asyncio.Event()

    async def hold(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await late.wait()
        return await echo(request, on_delta)

    bench = Bench(FakeTask(hold), wide(2), **NARROW)
    running = [asyncio.create_task(bench.run(client="a")) for _ in range(3)]
    await until(lambda: bench.engine.gates["c"].queued == 2)
    with pytest.raises(ServiceError) as caught:
        await bench.run(client="a")
    assert caught.value.code == "queue_full"
    late.set()
    await asyncio.gather(*running)


async def test_a_cancelled_run_leaves_nothing_in_the_queue() -> None:
    async def hang(_: TaskRequest, __: OnDelta | None) -> Done:
        await asyncio.Event().wait()
        raise AssertionError

    task = FakeTask(hang)
    bench = Bench(task, wide(), **NARROW)
    running = asyncio.create_task(bench.run())
    await until(lambda: task.running)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate = bench.engine.gates["c"]
    assert (gate.active, gate.queued, task.running, len(task.requests)) == (0, 0, 0, 1)


@pytest.mark.parametrize("kept", [True, False])
async def test_only_a_kept_run_waits_while_the_task_itself_is_full(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    async def full_at_first(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if len(naps) < 2:
            raise ServiceError(503, "overloaded", "65 requests already wait for this model.", retry_after_s=7)
        return await echo(request, on_delta)

    monkeypatch.setattr(calls, "sleep", nap)
    bench = Bench(FakeTask(full_at_first), workflow("w", ask("a", "x")))
    if kept:
        outcome = await bench.run(journal=MemoryJournal())
        assert (outcome.output, naps) == ("x", [7, 7])
    else:
        with pytest.raises(ServiceError, match="already wait"):
            await bench.run()
