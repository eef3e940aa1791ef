"""Jobs run in parallel as far as they may, fail together, and repeat within bounds."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.wire import Delta, Done, TaskRequest
from tests.services.router.engines import FakeTask, echo, execute
from tests.services.router.rig import job

pytestmark = pytest.mark.unit


async def test_independent_jobs_run_together() -> None:
    together = asyncio.Barrier(2)

    async def meet(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        async with asyncio.timeout(5):
            await together.wait()
        return await echo(request, on_delta)

    task = FakeTask(meet)
    outcome = await execute(task, {"prompt": "x"}, job("a", "c"), job("b", "c", input={"prompt": "y"}))
    assert (outcome.output, task.most) == ("y", 2)
    assert outcome.usage == {"total_tokens": 2}


async def test_a_dependent_job_waits() -> None:
    task = FakeTask()
    outcome = await execute(task, {"prompt": "x"}, job("b", "c", depends_on=(("a",),)), job("a", "c"))
    assert (outcome.output, task.most) == ("x", 1)
    assert [request.request_id for request in task.requests] == ["T/a", "T/b"]


async def test_the_first_failure_ends_the_others() -> None:
    async def fail_one(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] == "bad":
            raise ServiceError(500, "generation_failed", "No.")
        await asyncio.Event().wait()
        raise AssertionError

    task = FakeTask(fail_one)
    jobs = (job("a", "c"), job("b", "c", input={"prompt": "bad"}), job("z", "c", depends_on=(("b",),)))
    with pytest.raises(ServiceError, match="No"):
        await execute(task, {"prompt": "x"}, *jobs)
    assert (task.cancelled, task.running, len(task.requests)) == (1, 0, 2)


async def test_cancelling_a_run_cancels_every_repeat() -> None:
    all_run = asyncio.Barrier(6)

    async def hang(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await all_run.wait()
        await asyncio.Event().wait()
        raise AssertionError

    task = FakeTask(hang)
    running = asyncio.create_task(execute(task, {"prompt": "x"}, job("a", "c", repeat_count=5)))
    await all_run.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (task.cancelled, task.running) == (5, 0)


async def test_lists_are_streamed_with_their_places() -> None:
    async def lists(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        assert on_delta is not None
        for delta in (Delta("a", (0,)), Delta("b", (1,)), Delta("c", (0,))):
            await on_delta(delta)
        return Done(["ac", "b"])

    chunks: list[Any] = []
    outcome = await execute(FakeTask(lists), {"prompt": ["x", "y"]}, chunks=chunks, output={"g": "${output}"})
    assert outcome.output == {"g": ["ac", "b"]}
    assert chunks == [("g[0]", "a"), ("g[1]", "b"), ("g[0]", "c")]


async def test_what_a_task_did_not_send_is_sent_at_the_end() -> None:
    async def silent(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        assert on_delta is not None
        await on_delta(Delta("half"))
        return Done("half and half")

    chunks: list[Any] = []
    await execute(FakeTask(silent), {"prompt": "x"}, chunks=chunks)
    assert chunks == [("", "half"), ("", " and half")]


async def test_templates_see_environment_and_context_as_plain_values() -> None:
    output = {"env": "${env.E}", "who": "${context.session_id}", "run": "${context.task_id}", "in": "${input.prompt}"}
    outcome = await execute(FakeTask(), {"prompt": "${input.x}"}, output=output)
    assert outcome.output == {"env": "${x}", "who": "S", "run": "T", "in": "${input.x}"}
    assert outcome.usage == {"total_tokens": 1, "seed": 5}
