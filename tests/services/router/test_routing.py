"""Branches, rounds and what becomes of the output when jobs are skipped."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.wire import Done, TaskRequest
from tests.services.router.engines import FakeTask, ask, echo, execute

pytestmark = pytest.mark.unit


def switch(name: str = "s", **changes: Any) -> dict[str, Any]:
    """Routes to the job that the input `to` names: `a`, `b` or none."""
    cases = [{"value": "a", "then": "a"}, {"value": "b", "then": "b"}]
    return {"id": name, "type": "switch", "input": "${input.to}", "cases": cases, **changes}


def again(name: str, after: str, to: str, *, while_: str, done: str | None = None) -> dict[str, Any]:
    """An `if` that routes back as long as the output of `after` matches."""
    condition = {"operator": "match", "value": while_, "if_true": to, "if_false": done}
    return {"id": name, "type": "if", "input": f"${{jobs.{after}.output}}", "conditions": [condition]}


@pytest.mark.parametrize(("to", "output"), [("a", "A!"), ("b", "B!"), ("c", "!")])
async def test_a_join_sees_the_branch_that_ran(to: str, output: str) -> None:
    join = ask("join", "${jobs.a.output}${jobs.b.output}!", depends_on=(("a",), ("b",), ("s",)))
    outcome = await execute(FakeTask(), {"to": to}, switch(), ask("a", "A"), ask("b", "B"), join)
    assert outcome.output == output


async def test_an_either_list_starts_with_the_first_that_runs() -> None:
    join = ask("join", "${jobs.a.output | nothing}+${jobs.b.output | nothing}", depends_on=(("a", "b"),))
    outcome = await execute(FakeTask(), {"to": "b"}, switch(), ask("a", "A"), ask("b", "B"), join)
    assert outcome.output == "nothing+B"


@pytest.mark.parametrize(
    ("to", "outputs", "expected"),
    [
        ("a", [None, None, None], "C"),
        ("a", [{"x": "${output}"}, None, {"x": "c", "y": "${output}"}], {"x": "c", "y": "C"}),
        ("b", [{"x": "${output}"}, {"z": "${output}"}, {"y": "${output}"}], {"z": "B", "y": "C"}),
        ("none", [None, None, {"y": "${output}"}], {"y": "C"}),
    ],
)
async def test_terminal_jobs_that_ran_make_the_output(to: str, outputs: list[Any], expected: Any) -> None:
    a, b, c = (ask(name, name.upper(), output=output) for name, output in zip("abc", outputs, strict=True))
    assert (await execute(FakeTask(), {"to": to}, switch(), a, b, c)).output == expected


async def test_skipped_outputs_are_missing_in_the_output() -> None:
    output = {"a": "${jobs.a.output}", "b": "${jobs.b.output | none}", "both": "${jobs.a.output}${jobs.b.output}"}
    outcome = await execute(FakeTask(), {"to": "b"}, switch(), ask("a", "A"), ask("b", "B"), output=output)
    assert outcome.output == {"a": None, "b": "B", "both": "B"}


ROUNDS = [
    switch("start", cases=[], otherwise="draft"),
    ask("draft", "d"),
    ask("note", "n:${jobs.draft.output}"),
    again("check", "draft", "draft", while_="d?x{0,2}$", done="done"),
    ask("done", "${jobs.draft.output}/${jobs.note.output}"),
]


class Growing:
    """Answers `d` with one `x` more each time, and echoes the rest."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] != "d":
            return await echo(request, on_delta)
        self.count += 1
        return Done("x" * self.count, {"total_tokens": 1})


async def test_rounds_start_all_that_follows_anew() -> None:
    task = FakeTask(Growing())
    outcome = await execute(task, {}, *ROUNDS)
    assert outcome.output == "xxx/n:xxx"
    ids = {request.request_id for request in task.requests}
    assert {"T/draft", "T/draft.2", "T/draft.3", "T/note.3", "T/done.3"} <= ids


async def test_a_visit_that_is_taken_back_ends_at_once() -> None:
    growing = Growing()

    async def hang_on_early_notes(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] in ("n:x", "n:xx"):
            await asyncio.Event().wait()
        return await growing(request, on_delta)

    task = FakeTask(hang_on_early_notes)
    outcome = await execute(task, {}, *ROUNDS)
    assert outcome.output == "xxx/n:xxx"
    assert (task.cancelled, task.running) == (2, 0)


async def test_endless_rounds_fail() -> None:
    task = FakeTask()
    with pytest.raises(ServiceError) as caught:
        await execute(task, {}, ROUNDS[0], ask("draft", "d", max_run_count=4), again("c", "draft", "draft", while_=""))
    assert (caught.value.code, len(task.requests)) == ("too_many_visits", 4)
