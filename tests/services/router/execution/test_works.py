"""What each type of job gives, and how much of it runs at once."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.router.execution.works import REPEATS_AT_ONCE
from services.wire import Done, TaskRequest
from tests.services.router.engines import FakeTask, ask, do, echo, execute

pytestmark = pytest.mark.unit


async def slowly(request: TaskRequest, on_delta: OnDelta | None) -> Done:
    """Later requests end first."""
    for _ in range(100 - len(request.fields["text"])):
        await asyncio.sleep(0)
    return await echo(request, on_delta)


async def longer(request: TaskRequest, on_delta: OnDelta | None) -> Done:
    """The prompt and one more letter."""
    return Done(request.fields["text"] + "a")


async def test_for_each_keeps_the_order_of_its_items() -> None:
    task = FakeTask(slowly)
    each = {"id": "e", "type": "for-each", "input": "${input.words}", "batch_size": "3", "do": do("${index}:${item}")}
    words = ["ccc", "bb", "a", "dddd"]
    outcome = await execute(task, {"words": words}, each)
    assert outcome.output == ["0:ccc", "1:bb", "2:a", "3:dddd"]
    assert (task.most, outcome.usage) == (3, {"total_tokens": 4})
    assert {request.request_id for request in task.requests} == {"T/e[0]", "T/e[1]", "T/e[2]", "T/e[3]"}


async def test_an_item_is_the_input_of_a_call_without_one() -> None:
    each = {"id": "e", "type": "for-each", "input": "${input.list}", "do": do(output="${index}=${output}")}
    outcome = await execute(FakeTask(), {"list": [{"prompt": "x"}, {"prompt": "y"}]}, each)
    assert outcome.output == ["0=x", "1=y"]


async def test_text_that_holds_a_list_is_gone_through() -> None:
    each = {"id": "e", "type": "for-each", "input": "${input.list}", "do": do("${item}")}
    keep = {"id": "f", "type": "filter", "input": "${input.list}", "where": {"operator": "gt", "value": 1}}
    assert (await execute(FakeTask(), {"list": '["x", "y"]'}, each)).output == ["x", "y"]
    assert (await execute(FakeTask(), {"list": "[1, 2]"}, keep)).output == [2]


async def test_for_each_over_nothing_gives_nothing() -> None:
    each = {"id": "e", "type": "for-each", "input": "${input.list}", "do": do("${item}"), "output": {"r": "${output}"}}
    outcome = await execute(FakeTask(), {"list": []}, each)
    assert outcome.output == {"r": []}


@pytest.mark.parametrize(
    ("component", "most"), [({"max_queue_length": 200}, 100), ({}, 32), ({"max_concurrent_count": 2}, 2)]
)
async def test_a_batch_does_not_flood_its_component(component: Any, most: int) -> None:
    task = FakeTask(slowly)
    each = {"id": "e", "type": "for-each", "input": "${input.list}", "batch_size": 100, "do": do("${item}")}
    outcome = await execute(task, {"list": [str(index) for index in range(200)]}, each, component=component)
    assert (outcome.output, task.most) == ([str(index) for index in range(200)], most)


@pytest.mark.parametrize(("component", "most"), [({}, REPEATS_AT_ONCE), ({"max_concurrent_count": 2}, 2)])
async def test_repeats_do_not_flood_their_component(component: Any, most: int) -> None:
    task = FakeTask(slowly)
    outcome = await execute(task, {}, ask("a", "${index}", repeat_count=100), component=component)
    assert outcome.output == [str(index) for index in range(100)]
    assert task.most == most
    assert len({request.seed for request in task.requests}) == 100


@pytest.mark.parametrize(("count", "expected"), [(1, "0"), ("1", "0"), (2, ["0", "1"])])
async def test_one_repeat_gives_no_list(count: Any, expected: Any) -> None:
    assert (await execute(FakeTask(), {"n": count}, ask("a", "${index}", repeat_count="${input.n}"))).output == expected


@pytest.mark.parametrize(
    "ending",
    [
        {"until": {"input": "${output}", "operator": "eq", "value": "xaaa"}},
        {"while_": {"operator": "neq", "value": "xaaa"}},
    ],
)
async def test_a_loop_feeds_each_output_to_the_next_iteration(ending: Any) -> None:
    task = FakeTask(longer)
    loop = {"id": "l", "type": "loop", "input": "${input.start}", "do": do("${input}"), **ending}
    outcome = await execute(task, {"start": "x"}, loop)
    assert (outcome.output, task.texts) == ("xaaa", ["x", "xa", "xaa"])


async def test_a_loop_maps_each_output_before_it_goes_on() -> None:
    task = FakeTask(longer)
    loop = {
        "id": "l",
        "type": "loop",
        "do": do(output={"prompt": "${output}${index}"}),
        "until": {"input": "${output.prompt}", "operator": "match", "value": ".*1$"},
    }
    outcome = await execute(task, {"prompt": "x"}, loop)
    assert (outcome.output, task.texts) == ({"prompt": "xa0a1"}, ["x", "xa0"])


async def test_a_loop_is_tested_against_the_input_of_the_workflow() -> None:
    loop = {
        "id": "l",
        "type": "loop",
        "input": "${input.start}",
        "do": do("x${input}"),
        "until": {"operator": "starts-with", "value": "${input.stop}"},
    }
    assert (await execute(FakeTask(), {"start": "a", "stop": "xxx"}, loop)).output == "xxxa"


async def test_a_loop_without_an_end_fails() -> None:
    task = FakeTask()
    loop = {
        "id": "l",
        "type": "loop",
        "do": do("x"),
        "until": {"operator": "eq", "value": "y"},
        "max_iteration_count": 3,
    }
    with pytest.raises(ServiceError) as caught:
        await execute(task, {}, loop)
    assert (caught.value.status, caught.value.code, len(task.requests)) == (500, "too_many_iterations", 3)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, [1, "2", 3, None]),
        ({"operator": "gte", "value": 2}, ["2", 3]),
        ({"input": "${index}", "operator": "lt", "value": 2}, [1, "2"]),
        ({"all": [{"operator": "gt", "value": "${input.low}"}, {"not_": {"operator": "eq", "value": 3}}]}, ["2"]),
        ({"any": [{"operator": "eq", "value": None}, {"input": "${item}", "operator": "eq", "value": 1}]}, [1, None]),
    ],
)
async def test_a_filter_keeps_what_fulfils_its_condition(where: Any, expected: list[Any]) -> None:
    one = {"id": "f", "type": "filter", "input": "${input.list}", "where": where}
    assert (await execute(FakeTask(), {"list": [1, "2", 3, None], "low": 1}, one)).output == expected


async def test_a_long_filter_leaves_time_for_others() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    one = {"id": "f", "type": "filter", "input": "${input.list}", "where": {"operator": "match", "value": "a.*b$"}}
    outcome = await execute(FakeTask(), {"list": ["axb", "b"] * 10_000}, one)
    counting.cancel()
    assert len(outcome.output) == 10_000
    assert turns >= 5


async def test_a_delay_gives_what_it_maps() -> None:
    delay = {
        "id": "d",
        "type": "delay",
        "duration": "${input.d}",
        "output": {"waited": "${input.d}", "no": "${output}"},
    }
    assert (await execute(FakeTask(), {"d": "1ms"}, delay)).output == {"waited": "1ms", "no": None}
    silent = {"id": "d", "type": "delay", "duration": 0}
    assert (await execute(FakeTask(), {"prompt": "x"}, ask("a"), silent)).output == "x"


@pytest.mark.parametrize("kind", ["filter", "for-each"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [("x", "a text"), ("5", "a text"), (1.5, "a number"), ({}, "an object"), (True, "true or false")],
)
async def test_what_is_no_list_cannot_be_gone_through(kind: str, value: Any, shown: str) -> None:
    one = {"id": "f", "type": kind, "input": "${input.list}", **({"do": do("x")} if kind == "for-each" else {})}
    with pytest.raises(ServiceError) as caught:
        await execute(FakeTask(), {"list": value}, one)
    assert (caught.value.status, caught.value.field) == (422, "input")
    assert caught.value.message == f'"input" must be a list to go through, not {shown}.'


async def test_a_failed_item_ends_the_others() -> None:
    async def fail_one(request: TaskRequest, _: OnDelta | None) -> Done:
        if request.fields["text"] == "bad":
            await asyncio.sleep(0)
            raise ServiceError(500, "generation_failed", "No.")
        await asyncio.Event().wait()
        raise AssertionError

    task = FakeTask(fail_one)
    each = {"id": "e", "type": "for-each", "input": "${input.list}", "batch_size": 3, "do": do("${item}")}
    with pytest.raises(ServiceError, match="No"):
        await execute(task, {"list": ["a", "bad", "b", "c"]}, each)
    assert (task.cancelled, task.running, len(task.requests)) == (2, 0, 3)


TARGETS = [ask("yes", "yes"), ask("no", "no"), ask("other", "other")]


@pytest.mark.parametrize(("n", "expected"), [(5, "yes"), ("7", "yes"), (1, "no"), (3, "other"), (None, "other")])
async def test_the_first_condition_with_a_target_decides(n: Any, expected: str) -> None:
    conditions = [
        {"operator": "gt", "value": 4, "if_true": "yes"},
        {"input": "${input.n}", "operator": "eq", "value": "1", "if_true": "no"},
        {"operator": "eq", "value": "nothing like it", "if_true": "no", "if_false": "other"},
    ]
    one = {"id": "i", "type": "if", "input": "${input.n}", "conditions": conditions}
    assert (await execute(FakeTask(), {"n": n}, one, *TARGETS)).output == expected


async def test_an_outcome_without_a_target_ends_there() -> None:
    one = {"id": "i", "type": "if", "input": "${input.n}", "conditions": [{"value": 1, "if_true": "yes"}]}
    task = FakeTask()
    assert (await execute(task, {"n": 2}, one, ask("yes", "yes"))).output is None
    assert task.requests == []
    assert (await execute(task, {"n": 2}, {**one, "otherwise": "yes"}, ask("yes", "yes"))).output == "yes"


@pytest.mark.parametrize(("value", "expected"), [("a", "yes"), (2, "no"), ("2", "no"), ("b", "other"), (True, "other")])
async def test_a_switch_takes_the_first_equal_case(value: Any, expected: str) -> None:
    cases = [{"value": "${input.first}", "then": "yes"}, {"value": 2, "then": "no"}, {"value": "a", "then": "no"}]
    one = {"id": "s", "type": "switch", "input": "${input.v}", "cases": cases, "otherwise": "other"}
    assert (await execute(FakeTask(), {"v": value, "first": "a"}, one, *TARGETS)).output == expected


async def test_random_routes_follow_their_weights() -> None:
    routings = [{"to": "yes", "weight": 3}, {"to": "no", "weight": 0}, {"to": "other", "weight": 1}]
    one = {"id": "r", "type": "random-router", "mode": "weighted", "routings": routings}
    found = [(await execute(FakeTask(), {}, one, *TARGETS)).output for _ in range(200)]
    assert set(found) == {"yes", "other"}
    assert 110 <= found.count("yes") <= 190


async def test_uniform_routes_ignore_weights() -> None:
    routings = [{"to": "yes", "weight": 1000}, {"to": "no", "weight": 0}]
    one = {"id": "r", "type": "random-router", "routings": routings}
    found = [(await execute(FakeTask(), {}, one, *TARGETS[:2])).output for _ in range(200)]
    assert 60 <= found.count("no") <= 140


async def test_equal_sessions_are_routed_alike() -> None:
    routings = [{"to": "yes", "weight": 1}, {"to": "no", "weight": 1}, {"to": "other", "weight": 0}]
    one = {"id": "r", "type": "random-router", "mode": "weighted", "routings": routings, "session": "${input.who}"}
    first = [(await execute(FakeTask(), {"who": who}, one, *TARGETS)).output for who in range(100)]
    again = [(await execute(FakeTask(), {"who": who}, one, *TARGETS)).output for who in range(100)]
    assert first == again
    assert set(first) == {"yes", "no"}
    assert 25 <= first.count("yes") <= 75
