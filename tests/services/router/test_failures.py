"""What becomes of a job that fails: tried again, replaced, routed on, or the end of the run."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.router.execution import visit
from services.wire import Delta, Done, TaskRequest
from tests.services.router.engines import Bench, FakeTask, ask, do, echo, execute, failing, hang, until
from tests.services.router.rig import workflow

pytestmark = pytest.mark.unit

AT_ONCE = {"max_attempt_count": 3, "delay_s": 0}


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time here."""
    taken: list[float] = []

    async def nap(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(visit, "sleep", nap)
    return taken


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ({"max_attempt_count": 4}, [1, 1, 1]),
        ({"max_attempt_count": 4, "delay_s": 0.5, "backoff": "exponential"}, [0.5, 1, 2]),
        ({"max_attempt_count": 5, "delay_s": 3, "backoff": "exponential", "max_delay_s": 5}, [3, 5, 5]),
    ],
)
async def test_a_failure_that_may_pass_is_tried_again(retry: Any, expected: list[float], naps: list[float]) -> None:
    task = FakeTask(failing(1, 2, 3))
    outcome = await execute(task, {"prompt": "x"}, ask("a", retry=retry))
    assert (outcome.output, naps, outcome.usage) == ("x", expected, {"total_tokens": 1, "seed": 5})
    assert [request.request_id for request in task.requests] == ["T/a", "T/a+2", "T/a+3", "T/a+4"]


async def test_one_attempt_is_no_retry() -> None:
    task = FakeTask()
    await execute(task, {"prompt": "x"}, ask("a", retry={"max_attempt_count": 1}))
    assert [request.request_id for request in task.requests] == ["T/a"]


async def test_the_last_attempt_decides(naps: list[float]) -> None:
    with pytest.raises(ServiceError, match="Request 3 failed"):
        await execute(FakeTask(failing()), {"prompt": "x"}, ask("a", retry={"max_attempt_count": 3}))
    assert len(naps) == 2


@pytest.mark.parametrize(("status", "attempts"), [(400, 1), (408, 3), (409, 1), (422, 1), (429, 3), (502, 3), (503, 3)])
async def test_a_meaning_is_not_tried_again(status: int, attempts: int) -> None:
    task = FakeTask(failing(status=status))
    with pytest.raises(ServiceError):
        await execute(task, {"prompt": "x"}, ask("a", retry=AT_ONCE))
    assert len(task.requests) == attempts


async def test_what_was_finished_is_not_done_again() -> None:
    task = FakeTask(failing(3))
    each = {"id": "e", "type": "for-each", "input": "${input.l}", "do": do("${item}"), "retry": AT_ONCE}
    outcome = await execute(task, {"l": ["a", "b", "c", "d"]}, each)
    assert (outcome.output, task.texts) == (["a", "b", "c", "d"], ["a", "b", "c", "c", "d"])
    assert outcome.usage == {"total_tokens": 4}


async def test_text_that_was_sent_is_not_taken_back() -> None:
    async def half(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if on_delta is not None:
            await on_delta(Delta("half"))
        raise ServiceError(500, "generation_failed", "It broke.")

    chunks: list[Any] = []
    task = FakeTask(half)
    with pytest.raises(ServiceError, match="It broke"):
        await execute(task, {"prompt": "x"}, ask("a", retry=AT_ONCE), chunks=chunks)
    assert (chunks, len(task.requests)) == ([("", "half")], 1)


async def test_text_that_may_be_replaced_is_sent_when_it_is_final() -> None:
    async def half(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        assert on_delta is None
        raise ServiceError(500, "generation_failed", "It broke.")

    chunks: list[Any] = []
    one = ask("a", on_error={"output": "sorry"})
    outcome = await execute(FakeTask(half), {"prompt": "x"}, one, chunks=chunks, output={"t": "${output}"})
    assert (outcome.output, chunks) == ({"t": "sorry"}, [("t", "sorry")])


async def test_an_ignored_failure_counts_as_run() -> None:
    jobs = ask("a", on_error={}), ask("b", "b:${jobs.a.output}")
    assert (await execute(FakeTask(failing(1)), {"prompt": "x"}, *jobs)).output == "b:"
    assert (await execute(FakeTask(failing(1)), {"prompt": "x"}, jobs[0])).output is None


async def test_a_failure_can_be_replaced() -> None:
    output = {"why": "${error.message}", "code": "${error.code}", "of": "${input.prompt}"}
    jobs = ask("a", on_error={"output": output}), ask("b", "${jobs.a.output.code}!")
    both = {"a": "${jobs.a.output}", "b": "${jobs.b.output}"}
    outcome = await execute(FakeTask(failing(1)), {"prompt": "x"}, *jobs, output=both)
    assert outcome.output == {"a": {"why": "Request 1 failed.", "code": "broken", "of": "x"}, "b": "broken!"}


async def test_a_failure_can_lead_elsewhere() -> None:
    jobs = (
        ask("a", on_error={"to": "fallback"}),
        ask("after", "after ${jobs.a.output}"),
        ask("fallback", "instead of: ${error.message}"),
    )
    task = FakeTask(failing(1))
    assert (await execute(task, {"prompt": "x"}, *jobs)).output == "instead of: Request 1 failed."
    assert len(task.requests) == 2
    task = FakeTask()
    assert (await execute(task, {"prompt": "x"}, *jobs)).output == "after x"
    assert len(task.requests) == 2


async def test_retries_come_before_on_error() -> None:
    task = FakeTask(failing())
    outcome = await execute(task, {"prompt": "x"}, ask("a", retry=AT_ONCE, on_error={"output": "${error.message}"}))
    assert (outcome.output, len(task.requests)) == ("Request 3 failed.", 3)


async def test_a_meaning_is_caught_too() -> None:
    broken = ask("a", repeat_count="${input.n}", on_error={"output": "${error.code}"})
    assert (await execute(FakeTask(), {"prompt": "x", "n": "many"}, broken)).output == "invalid_parameter"


async def test_a_timeout_ends_the_job() -> None:
    task = FakeTask(hang)
    with pytest.raises(ServiceError) as caught:
        await execute(task, {"prompt": "x"}, ask("a", timeout_s=0.02))
    assert (caught.value.status, caught.value.code, task.cancelled) == (504, "job_timeout", 1)
    assert caught.value.message == "The job did not end within 0.02 s."


async def test_a_timeout_holds_for_all_attempts() -> None:
    task = FakeTask(failing())
    retry = {"max_attempt_count": 100, "delay_s": 0.015}
    caught = ask("a", timeout_s=0.05, retry=retry, on_error={"output": "${error.code}"})
    assert (await execute(task, {"prompt": "x"}, caught)).output == "job_timeout"
    assert len(task.requests) < 10


async def test_the_failure_of_a_run_names_the_job_when_there_are_several() -> None:
    jobs = (ask("a", "x"), ask("b", "${jobs.a.output}", depends_on=[["a"]]), ask("c", "x"))
    with pytest.raises(ServiceError) as caught:
        await execute(FakeTask(failing(3)), {}, *jobs)
    assert (caught.value.code, caught.value.message) == ("broken", 'Job "b": Request 3 failed.')


async def test_a_deadline_that_passes_in_the_queue_starts_nothing() -> None:
    async def hold(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] == "first":
            await late.wait()
        return await echo(request, on_delta)

    late = asyncio.Event()
    second = ask("second", "second", timeout_s=0.02, on_error={"output": "${error.code}"})
    task = FakeTask(hold)
    bench = Bench(task, workflow("a", ask("first", "first")), workflow("b", second), max_concurrent_count=1)
    running = asyncio.create_task(bench.run(workflow_id="a"))
    await until(lambda: task.running)
    waiting = asyncio.create_task(bench.run(workflow_id="b"))
    await until(lambda: bench.engine.gates["c"].queued == 1)
    assert (await waiting).output == "job_timeout"
    late.set()
    await running
    assert task.texts == ["first"]


async def test_a_cancelled_run_is_not_caught() -> None:
    task = FakeTask(hang)
    running = asyncio.create_task(execute(task, {"prompt": "x"}, ask("a", retry=AT_ONCE, on_error={}, timeout_s=60)))
    await until(lambda: task.running)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (task.cancelled, len(task.requests)) == (1, 1)


async def test_a_failure_in_one_branch_ends_the_others() -> None:
    async def answer(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] == "bad":
            raise ServiceError(500, "broken", "No.")
        return await (hang if request.fields["text"] == "slow" else echo)(request, on_delta)

    task = FakeTask(answer)
    with pytest.raises(ServiceError, match="No"):
        await execute(task, {}, ask("a", "slow"), ask("b", "x"), ask("c", "bad", depends_on=(("b",),)))
    assert (task.cancelled, task.running) == (1, 0)
