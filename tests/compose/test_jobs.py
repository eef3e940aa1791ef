"""What the router is told of each type of job."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from compose.loader import InvalidFile, Loaded
from compose.schema import shipped_schema
from services.router.compiling import compile_graph
from tests.compose.loading import load, router

pytestmark = pytest.mark.unit

EDITOR: Any = jsonschema.Draft202012Validator(json.loads(shipped_schema()))
COMPONENT = 'component: {id: writer, type: model, task: text-generation, model: acme/tiny, prompt: "${input.prompt}"}\n'


def jobs(folder: Path, text: str, **environ: str) -> list[dict[str, Any]]:
    """The settings of these jobs, without what was left to the defaults; an editor accepts them too."""
    file = f"workflow:\n  jobs:\n{indented(text)}\n{COMPONENT}"
    loaded = load(folder, file, **environ)
    EDITOR.validate(yaml.safe_load(file))
    return told(loaded)


def told(loaded: Loaded) -> list[dict[str, Any]]:
    settings = router(loaded)
    compile_graph(settings)
    return [job.model_dump(exclude_defaults=True) for job in settings.workflows[0].jobs]


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def test_a_component_job_names_what_is_meant(tmp_path: Path) -> None:
    assert jobs(tmp_path, "- {id: a, name: First}\n- {id: b, input: '${jobs.a.output}', timeout: 2m}") == [
        {"id": "a", "name": "First", "component": "writer", "action": "__action__"},
        {
            "id": "b",
            "component": "writer",
            "action": "__action__",
            "input": "${jobs.a.output}",
            "timeout_s": 120,
        },
    ]


@pytest.mark.parametrize(
    ("depends_on", "groups"),
    [
        ("a", (("a",),)),
        ("'a, b'", (("a",), ("b",))),
        ("[a, b]", (("a",), ("b",))),
        ("[[a, b]]", (("a", "b"),)),
        ("[[a, b], c]", (("a", "b"), ("c",))),
        ("['${env.FIRST}', ['${env.FIRST}', b]]", (("a",), ("a", "b"))),
    ],
)
def test_a_job_waits_for_all_or_for_either(
    tmp_path: Path, depends_on: str, groups: tuple[tuple[str, ...], ...]
) -> None:
    text = f"- {{id: a}}\n- {{id: b}}\n- {{id: c}}\n- {{id: d, depends_on: {depends_on}}}"
    assert jobs(tmp_path, text, FIRST="a")[3]["depends_on"] == groups


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ("3", {"max_attempt_count": 3}),
        ("'3'", {"max_attempt_count": 3}),
        ("'${env.ATTEMPTS}'", {"max_attempt_count": 4}),
        (
            "{max_attempt_count: 2, delay: 250ms, backoff: exponential, max_delay: 1m}",
            {"max_attempt_count": 2, "delay_s": 0.25, "backoff": "exponential"},
        ),
    ],
)
def test_a_job_is_tried_again(tmp_path: Path, retry: str, expected: dict[str, Any]) -> None:
    assert jobs(tmp_path, f"- {{id: a, retry: {retry}}}", ATTEMPTS="4")[0]["retry"] == expected


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        ("ignore", {}),
        ("Ignore", {}),
        ("{}", {}),
        ("{output: {sorry: '${error.message}'}}", {"output": {"sorry": "${error.message}"}}),
        ("{to: b}", {"to": "b"}),
    ],
)
def test_a_failure_is_ignored_replaced_or_handed_on(tmp_path: Path, on_error: str, expected: dict[str, Any]) -> None:
    text = f"- {{id: a, on_error: {on_error}}}\n- {{id: b, input: {{prompt: hello}}}}"
    assert jobs(tmp_path, text)[0]["on_error"] == expected


def test_the_job_that_a_failure_leads_to_may_read_it(tmp_path: Path) -> None:
    text = "- {id: a, on_error: {to: b}}\n- {id: b, input: {prompt: '${error.message} ${error.code}'}}"
    assert jobs(tmp_path, text)[1]["input"] == {"prompt": "${error.message} ${error.code}"}


DELAY = {"id": "a", "type": "delay"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("duration: 5", {"duration": 5}),
        ("duration: 1.5s", {"duration": "1.5s"}),
        ("mode: time-interval, duration: '${input.pause | 2s}'", {"duration": "${input.pause | 2s}"}),
        ("duration: '${env.PAUSE}'", {"duration": "${env.PAUSE}"}),
        ("mode: specific-time, time: 08:30", {"mode": "specific-time", "time": "08:30"}),
        (
            "mode: specific-time, time: 2030-01-31T08:30, timezone: Asia/Seoul",
            {"mode": "specific-time", "time": "2030-01-31T08:30", "timezone": "Asia/Seoul"},
        ),
    ],
)
def test_a_delay_waits_for_a_time_or_until_one(tmp_path: Path, written: str, expected: dict[str, Any]) -> None:
    assert jobs(tmp_path, f"- {{id: a, type: delay, {written}}}", PAUSE="3s") == [DELAY | expected]


IF = {"id": "a", "type": "if", "input": "${input.x}"}


@pytest.mark.parametrize(
    "written",
    [
        "operator: gt, value: 3, if_true: b",
        "conditions: [{operator: gt, value: 3, if_true: b}]",
        "conditions: {operator: gt, value: 3, if_true: b}",
    ],
)
def test_the_only_condition_may_be_written_inline(tmp_path: Path, written: str) -> None:
    text = f"- {{id: a, type: if, input: '${{input.x}}', {written}, otherwise: c}}\n- {{id: b}}\n- {{id: c}}"
    condition = {"operator": "gt", "value": 3, "if_true": "b"}
    assert jobs(tmp_path, text)[0] == IF | {"conditions": (condition,), "otherwise": "c"}


@pytest.mark.parametrize("written", ["value: 3, then: b", "cases: [{value: 3, then: b}]", "cases: {value: 3, then: b}"])
def test_the_only_case_may_be_written_inline(tmp_path: Path, written: str) -> None:
    text = f"- {{id: a, type: switch, input: '${{input.x}}', {written}}}\n- {{id: b}}"
    expected = {"id": "a", "type": "switch", "input": "${input.x}", "cases": ({"value": 3, "then": "b"},)}
    assert jobs(tmp_path, text)[0] == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("routings: [{to: b}, {to: c}]", {"routings": ({"to": "b"}, {"to": "c"})}),
        ("routings: [{target: b}]", {"routings": ({"to": "b"},)}),
        ("routes: [{id: b}]", {"routings": ({"to": "b"},)}),
        (
            "routes: [{id: b, weight: 70}, {id: c, weight: 30}]",
            {"mode": "weighted", "routings": ({"to": "b", "weight": 70}, {"to": "c", "weight": 30})},
        ),
        (
            "mode: weighted, session: '${context.session_id}', routings: {to: b, weight: '0.5'}",
            {"mode": "weighted", "session": "${context.session_id}", "routings": ({"to": "b", "weight": 0.5},)},
        ),
    ],
)
def test_a_random_router_has_weighted_ways_out(tmp_path: Path, written: str, expected: dict[str, Any]) -> None:
    text = f"- {{id: a, type: random-router, {written}}}\n- {{id: b}}\n- {{id: c}}"
    assert jobs(tmp_path, text)[0] == {"id": "a", "type": "random-router"} | expected


def test_conditions_of_a_filter_nest(tmp_path: Path) -> None:
    where = "{all: [{input: '${item.a}', operator: in, value: [1, 2]}, {not: {any: [{value: 3}, {value: null}]}}]}"
    assert jobs(tmp_path, f"- {{id: a, type: filter, input: '${{input.list}}', where: {where}}}") == [
        {
            "id": "a",
            "type": "filter",
            "input": "${input.list}",
            "where": {
                "all": (
                    {"input": "${item.a}", "operator": "in", "value": [1, 2]},
                    {"not_": {"any": ({"operator": "eq", "value": 3}, {"operator": "eq"})}},
                )
            },
        }
    ]


def test_a_for_each_calls_a_component_for_each_item(tmp_path: Path) -> None:
    text = "- {id: a, type: for-each, input: '${input.list}', batch_size: 4, do: {type: component, output: '${item}'}}"
    assert jobs(tmp_path, text) == [
        {
            "id": "a",
            "type": "for-each",
            "input": "${input.list}",
            "batch_size": 4,
            "do": {"component": "writer", "action": "__action__", "output": "${item}"},
        }
    ]


@pytest.mark.parametrize(("key", "field"), [("while", "while_"), ("until", "until")])
def test_a_loop_ends_by_a_condition(tmp_path: Path, key: str, field: str) -> None:
    condition = "{input: '${output} ${index}', value: x}"
    text = f"- {{id: a, type: loop, do: {{}}, {key}: {condition}, max_iteration_count: 9}}"
    assert jobs(tmp_path, text) == [
        {
            "id": "a",
            "type": "loop",
            "do": {"component": "writer", "action": "__action__"},
            field: {"input": "${output} ${index}", "operator": "eq", "value": "x"},
            "max_iteration_count": 9,
        }
    ]


WORKFLOWS = """
    workflows:
      - {id: outer, default: true, component: inner-one}
      - {id: inner, component: writer, output: "${output}"}
    components:
      - {id: writer, type: model, task: text-generation, model: acme/tiny}
      - {id: inner-one, type: workflow, %s}
"""


@pytest.mark.parametrize(
    "written",
    [
        "workflow: inner, input: {prompt: '${input.x}'}, output: '${result}'",
        "action: {workflow: inner, input: {prompt: '${input.x}'}, output: '${result}'}",
        "workflow: inner, actions: [{input: {prompt: '${input.x}'}, output: '${result}'}]",
    ],
)
def test_a_workflow_component_may_be_written_in_every_way(tmp_path: Path, written: str) -> None:
    EDITOR.validate(yaml.safe_load(WORKFLOWS % written))
    settings = router(load(tmp_path, WORKFLOWS % written))
    compile_graph(settings)
    assert settings.components[1].model_dump(exclude_defaults=True) == {
        "type": "workflow",
        "id": "inner-one",
        "actions": (
            {
                "id": "__action__",
                "default": True,
                "workflow": "inner",
                "input": {"prompt": "${input.x}"},
                "output": "${result}",
            },
        ),
    }


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("in", "'${input.list}'"),
        ("in", "[1]"),
        ("not-in", "[]"),
        ("gt", "3"),
        ("gte", "'3'"),
        ("lt", "2030-01-01"),
        ("starts-with", "5"),
        ("match", r"'\p{Lu}+'"),
        ("match", "'${input.pattern}'"),
        ("match", "'${env.PATTERN}'"),
    ],
)
def test_what_an_operator_may_work_with_is_accepted(tmp_path: Path, operator: str, value: str) -> None:
    text = (
        f"- {{id: a, type: if, input: '${{input.x}}', operator: {operator}, value: {value}, if_true: b}}\n- {{id: b}}"
    )
    assert jobs(tmp_path, text, PATTERN="a+")[0]["conditions"][0]["operator"] == operator


def test_a_constant_from_the_environment_is_checked_too(tmp_path: Path) -> None:
    text = "- {id: a, type: if, input: '${input.x}', operator: match, value: '${env.PATTERN}', if_true: b}\n- {id: b}"
    with pytest.raises(InvalidFile, match="cannot be read as a regular expression"):
        jobs(tmp_path, text, PATTERN="(a")


def test_what_looks_like_an_expression_in_a_title_is_text(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'workflow: {title: "${", description: "${nothing}", job: {name: "a ${"}}\n' + COMPONENT)
    workflow = router(loaded).workflows[0]
    assert (workflow.title, workflow.description, workflow.jobs[0].name) == ("${", "${nothing}", "a ${")
