"""A run that goes on after a crash at any moment repeats no finished piece and ends as it would have ended."""

import asyncio
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.analysis.inputs import Inputs
from services.router.clients.client import NotReady, OnDelta
from services.router.execution.engine import Engine, Outcome
from services.router.graph import DelayWork, Graph, Job, RandomWork, Workflow
from services.router.journal import JobKey
from services.router.messages import Run, RunRequest
from services.wire import Done, TaskRequest
from tests.services.router.engines import Bench, FakeTask, MemoryJournal, ask, do, echo, failing, until
from tests.services.router.execution.test_scheduler import graphs
from tests.services.router.rig import workflow
from tests.services.router.test_inner_workflows import calling, inner, outer
from tests.services.router.test_routing import ROUNDS, Growing

pytestmark = pytest.mark.unit

EACH = {"id": "each", "type": "for-each", "input": "${input.l}", "batch_size": 2, "do": do("${item}")}
LOOP = {"id": "loop", "type": "loop", "do": do("${input.prompt}x", output={"prompt": "${output}"})}
GIVEN = {"prompt": "p", "l": ["a", "b", "c"]}
CHOICE = {"id": "r", "type": "random-router", "routings": [{"to": "yes"}, {"to": "no"}]}

SCENARIOS = {
    "repeats and a join": [
        ask("a", "${index}", repeat_count=3),
        ask("b", "b"),
        ask("c", "${jobs.a.output}${jobs.b.output}"),
    ],
    "items": [EACH, ask("after", "${jobs.each.output}")],
    "a loop": [{**LOOP, "until": {"input": "${output.prompt}", "value": "pxxx"}}],
    "chance": [CHOICE, ask("yes", "yes"), ask("no", "no"), ask("end", "${jobs.yes.output}${jobs.no.output}")],
    "rounds": ROUNDS,
    "an inner workflow": [ask("first"), ask("job", "${jobs.first.output}", component="w")],
    "inner workflows for items": [{**EACH, "do": do("${item}", component="w")}, ask("after", "${jobs.each.output}")],
}


def bench(scenario: str, task: FakeTask) -> Bench:
    return Bench(
        task, outer(*SCENARIOS[scenario]), inner(ask("x"), ask("y", "${jobs.x.output}!")), components=[calling()]
    )


def through_json(journal: MemoryJournal) -> list[tuple[JobKey, Any]]:
    """What was noted, as a store gives it back."""
    return [(key, json.loads(json.dumps(record, allow_nan=False))) for key, record in journal.noted]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_any_part_of_a_run_need_not_be_done_again(scenario: str) -> None:
    task, journal = FakeTask(Growing()), MemoryJournal()
    whole = await bench(scenario, task).run(GIVEN, journal=journal)
    noted = through_json(journal)
    first = [request.request_id for request in task.requests]
    for length in range(len(noted) + 1):
        growing = Growing()
        growing.count = sum(key.job == "draft" for key, _ in noted[:length])
        later = FakeTask(growing)
        resumed_journal = MemoryJournal(noted[:length])
        resumed = await bench(scenario, later).run(GIVEN, journal=resumed_journal)
        if scenario != "chance" or length:
            assert resumed == whole
            assert {key for key, _ in noted} == {key for key, _ in [*noted[:length], *resumed_journal.noted]}
        assert len(later.requests) <= len(first)
    assert later.requests == []


async def test_what_was_caught_stays_so() -> None:
    jobs = (
        ask("a", on_error={"to": "b"}),
        ask("b", "b ${error.message}"),
        ask("c", on_error={"output": "${error.code}"}),
    )
    output = {name: f"${{jobs.{name}.output}}" for name in "abc"}
    journal = MemoryJournal()
    whole = await Bench(FakeTask(failing(1, 2)), workflow("w", *jobs, output=output)).run(GIVEN, journal=journal)
    assert whole.output["a"] is None
    for length in (2, 3):
        resumed = await Bench(FakeTask(), workflow("w", *jobs, output=output)).run(
            GIVEN, journal=MemoryJournal(through_json(journal)[:length])
        )
        assert resumed.output == whole.output


async def test_keys_and_records_are_plain() -> None:
    journal = MemoryJournal()
    await bench("an inner workflow", FakeTask()).run(GIVEN, journal=journal)
    assert [key for key, _ in journal.noted] == [
        JobKey("first", -1, 1),
        JobKey("job/x", -1, 1),
        JobKey("job/y", -1, 1),
        JobKey("job", -1, 1),
    ]
    usage = {"calls": 1, "usage": {"total_tokens": 1, "seed": 5}, "warnings": [], "finish_reasons": []}
    assert journal.noted[0][1] == {
        "order": 0,
        "ran": True,
        "target": None,
        "error": None,
        "tally": usage,
        "output": "p",
    }


@pytest.mark.parametrize("first", ["a", "b"])
async def test_routers_that_raced_are_followed_in_the_order_of_then(first: str) -> None:
    """Both route to `end`, whose last visit knows of both; what the other one did to it is the same again."""

    async def one_first(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if request.fields["text"] in {"a", "b"} - {first}:
            await gate.wait()
        return await echo(request, on_delta)

    def routed(name: str) -> list[Any]:
        conditions = [{"operator": "match", "value": "", "if_true": "end"}]
        return [
            ask(name, name),
            {"id": f"to-{name}", "type": "if", "input": f"${{jobs.{name}.output}}", "conditions": conditions},
        ]

    jobs = [
        *routed("a"),
        *routed("b"),
        ask("end", "${jobs.a.output | -}${jobs.b.output | -}", depends_on=(("a", "b"),)),
    ]
    gate, journal, task = asyncio.Event(), MemoryJournal(), FakeTask(one_first)
    running = asyncio.create_task(Bench(task, workflow("w", *jobs)).run(journal=journal))
    await until(lambda: any(key.job == "end" for key, _ in journal.noted))
    gate.set()
    whole = await running
    assert whole.output == "ab"
    orders = [(key.job, key.visit) for key, _ in journal.noted]
    assert orders[-1] == ("end", 2)
    later = FakeTask()
    resumed = await Bench(later, workflow("w", *jobs)).run(journal=MemoryJournal(through_json(journal)))
    assert (resumed, later.requests) == (whole, [])


async def test_a_kept_run_waits_for_a_component_rather_than_to_fail() -> None:
    async def not_ready(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        raise NotReady("Not yet.", hint="Wait.", retry_after_s=1, lasting=False)

    job = ask("a", on_error={"output": "caught"}, retry={"max_attempt_count": 2, "delay_s": 0})
    task = FakeTask(not_ready)
    with pytest.raises(NotReady):
        await Bench(task, workflow("w", job)).run(GIVEN, journal=MemoryJournal())
    assert len(task.requests) == 1
    assert (await Bench(FakeTask(not_ready), workflow("w", job)).run(GIVEN)).output == "caught"


async def test_a_kept_run_is_never_refused_by_a_full_component() -> None:
    late = asyncio.Event()

    async def hold(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await late.wait()
        return await echo(request, on_delta)

    jobs = [ask(name, name) for name in ("a", "b", "c")]
    task = FakeTask(hold)
    bench = Bench(task, workflow("w", *jobs), max_concurrent_count=1, max_queue_length=0)
    first = asyncio.create_task(bench.run())
    await until(lambda: task.running)
    with pytest.raises(ServiceError, match="is busy"):
        await bench.run()
    kept = asyncio.create_task(bench.run(journal=MemoryJournal()))
    await until(lambda: bench.engine.gates["c"].queued)
    late.set()
    assert [(await run).output for run in (first, kept)] == ["c", "c"]


@settings(max_examples=50)
@given(graphs(), st.integers(0, 99), st.data())
async def test_any_graph_goes_on_as_it_was(made: list[Job], seed: int, data: st.DataObject) -> None:
    """Routers choose by chance and delays end in any order; only the journal knows what happened."""
    chance = random.Random(seed)
    jobs = tuple(
        replace(job, work=RandomWork(tuple((target, 1.0) for target in job.targets), None))
        if job.targets
        else replace(
            job, work=DelayWork(chance.choice([0, 0, 0.001]), None, None), output={job.id: "${context.run_id}"}
        )
        for job in made
    )
    terminal = tuple(job.id for job in jobs if not job.targets)
    graph = Workflow("w", jobs, terminal, None, Inputs((), False), False, False, "", {})
    engine = Engine(Graph({}, {"w": graph}, graph), {}, {})

    async def run(journal: MemoryJournal) -> Outcome | str:
        try:
            return await engine.execute(graph, RunRequest(), Run("T", "w", "R", kept=True), None, journal)
        except ServiceError as error:
            return error.code

    journal = MemoryJournal()
    whole = await run(journal)
    noted = through_json(journal)
    again = MemoryJournal(noted)
    assert await run(again) == whole
    assert again.noted == []
    rest = MemoryJournal(noted[: data.draw(st.integers(0, len(noted)))])
    ended = await run(rest)
    assert await run(MemoryJournal([*rest.found.items(), *through_json(rest)])) == ended
