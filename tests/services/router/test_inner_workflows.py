"""A workflow that runs another: one run, with one usage, one stream and one end."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.router.settings import WorkflowComponentSettings
from services.wire import Done, TaskRequest
from tests.services.router.engines import Bench, FakeTask, ask, do, failing, until
from tests.services.router.rig import workflow

pytestmark = pytest.mark.unit


def calling(name: str = "w", **action: Any) -> WorkflowComponentSettings:
    """A component `w` that runs the workflow `inner`."""
    actions = [{"id": "__action__", "workflow": "inner", **action}]
    return WorkflowComponentSettings.model_validate({"type": "workflow", "id": name, "actions": actions})


def inner(*jobs: Any, **changes: Any) -> Any:
    return workflow("inner", *(jobs or (ask("one"),)), private=True, **changes)


def outer(*jobs: Any, **changes: Any) -> Any:
    return workflow("outer", *(jobs or (ask("job", component="w"),)), default=True, **changes)


async def test_its_output_is_the_call_s_result() -> None:
    task = FakeTask()
    parts = calling(input={"prompt": "<${input.prompt}>"}, output={"r": "${result.t}"})
    job = ask("job", "${input.p}", component="w")
    bench = Bench(task, outer(job), inner(output={"t": "${output}"}), components=[parts])
    outcome = await bench.run({"p": "x"})
    assert (outcome.output, outcome.usage) == ({"r": "<x>"}, {"total_tokens": 1, "seed": 5})
    assert [request.request_id for request in task.requests] == ["T/job/one"]


async def test_context_environment_and_usage_are_those_of_the_run() -> None:
    output = {"run": "${context.run_id}", "env": "${env.E}", "all": "${jobs.a.output}${jobs.b.output}"}
    bench = Bench(FakeTask(), outer(), inner(ask("a", "a"), ask("b", "b"), output=output), components=[calling()])
    outcome = await bench.run({})
    assert outcome.output == {"run": "T", "env": "${x}", "all": "ab"}
    assert outcome.usage == {"total_tokens": 2}


async def test_an_inner_workflow_sees_only_its_own_input_and_jobs() -> None:
    seen = {"secret": "${input.secret | nothing}", "p": "${input.prompt}"}
    bench = Bench(
        FakeTask(), outer(ask("first", "f"), ask("job", "x", component="w")), inner(output=seen), components=[calling()]
    )
    outcome = await bench.run({"secret": "s"})
    assert outcome.output == {"secret": "nothing", "p": "x"}


async def test_it_runs_for_each_item_and_in_each_iteration() -> None:
    each = {"id": "e", "type": "for-each", "input": "${input.l}", "batch_size": 2, "do": do(component="w")}
    task = FakeTask()
    bench = Bench(task, outer(each), inner(), components=[calling(input={"prompt": "${input}"})])
    assert (await bench.run({"l": ["a", "b", "c"]})).output == ["a", "b", "c"]
    assert [request.request_id for request in task.requests] == ["T/e[0]/one", "T/e[1]/one", "T/e[2]/one"]
    loop = {"id": "l", "type": "loop", "do": do("${input.prompt}x", component="w", output={"prompt": "${output}"})}
    until_xx = {"until": {"input": "${output.prompt}", "value": "xx"}}
    task = FakeTask()
    bench = Bench(task, outer({**loop, **until_xx}), inner(), components=[calling()])
    assert (await bench.run({"prompt": ""})).output == {"prompt": "xx"}
    assert [request.request_id for request in task.requests] == ["T/l[0]/one", "T/l[1]/one"]


async def test_its_failure_is_the_job_s() -> None:
    handled = {"retry": {"max_attempt_count": 2, "delay_s": 0}, "on_error": {"output": "${error.code}"}}
    caught = ask("job", "x", component="w", **handled)
    task = FakeTask(failing())
    bench = Bench(task, outer(caught), inner(ask("one", "x")), components=[calling()])
    assert (await bench.run()).output == "broken"
    assert [request.request_id for request in task.requests] == ["T/job/one", "T/job+2/one"]


@pytest.mark.parametrize("given", [{"other": 1}, "a text"])
async def test_a_missing_input_is_named(given: Any) -> None:
    bench = Bench(FakeTask(), outer(ask("job", component="w", input="${input.v}")), inner(), components=[calling()])
    with pytest.raises(ServiceError) as caught:
        await bench.run({"v": given})
    assert caught.value.status == 422
    assert 'job "job"' in (caught.value.hint or "")
    assert caught.value.message in (
        'Input "prompt" is required.',
        'The workflow "inner" needs an object of inputs by name.',
    )


async def test_its_text_is_sent_while_it_is_made() -> None:
    chunks: list[Any] = []
    shown = {"answer": "${jobs.job.output.t}", "more": ["${jobs.each.output}"]}
    each = {"id": "each", "type": "for-each", "input": "${input.l}", "do": do(component="w", output="${output.t}")}
    bench = Bench(
        FakeTask(),
        outer(ask("job", component="w"), each, output=shown),
        inner(output={"t": "${output}"}),
        components=[calling()],
    )
    given = {"prompt": "p", "l": [{"prompt": "a"}, {"prompt": "b"}]}
    outcome = await bench.run(given, chunks)
    assert outcome.output == {"answer": "p", "more": [["a", "b"]]}
    assert sorted(chunks) == [("answer", "p"), ("more[0][0]", "a"), ("more[0][1]", "b")]


async def test_cancelling_the_run_ends_it() -> None:
    async def hang(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await asyncio.Event().wait()
        raise AssertionError

    task = FakeTask(hang)
    bench = Bench(task, outer(), inner(ask("a", "a"), ask("b", "b")), components=[calling()])
    running = asyncio.create_task(bench.run())
    await until(lambda: task.running == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (task.cancelled, task.running) == (2, 0)


async def test_an_earlier_conversation_is_not_passed_on() -> None:
    bench = Bench(FakeTask(), outer(), inner(), components=[calling()])
    with pytest.raises(ServiceError, match="needs exactly one chat job"):
        await bench.run({"prompt": "x"}, history=({"role": "user", "content": "hi"},))
