"""What a workflow's output is made of is known before it runs: its types, and which texts pass through unchanged."""

from typing import Any

import pytest

from services.router.analysis.outputs import Either, Opaque, Piped, first_there
from tests.services.router.rig import chat, job, text, workflow
from tests.services.router.test_graph import DO, compiled, graph_of, runs

pytestmark = pytest.mark.unit


def pipes_of(**changes: Any) -> dict[str, Any]:
    """For each job the paths of its text, and whether the parts of a list are sent as well."""
    compiled = graph_of(workflow("w", *changes.pop("jobs", (job("__job__", "chat"),)), **changes)).workflows["w"]
    return {item.id: tuple((path, pipe.carries("[0]", "[0]")) for path, pipe in item.pipes) for item in compiled.jobs}


def paths_of(*jobs: dict[str, Any], **changes: Any) -> dict[str, list[str]]:
    """For each job that is sent while it runs, where its text stands in the output."""
    return {item.id: [path for path, _ in item.pipes] for item in compiled(*jobs, **changes).jobs if item.pipes}


CHOOSE = {"id": "choose", "type": "if", "input": "${input.k}", "conditions": [{"if_true": "a", "if_false": "b"}]}
AGAIN: list[dict[str, Any]] = [
    CHOOSE,
    {"id": "a"},
    {"id": "b"},
    {"id": "judge", "type": "switch", "input": "${jobs.a.output}", "cases": [{"value": "bad", "then": "a"}]},
]
"""`a` may be visited again."""


@pytest.mark.parametrize(
    ("output", "pipes"),
    [
        (None, (("", True),)),
        ("${output}", (("", True),)),
        ("${jobs.__job__.output}", (("", True),)),
        ("${output as stream/text}", (("", True),)),
        ("${output as markdown}", (("", False),)),
        ({"generated": "${output}"}, (("generated", True),)),
        ({"a": {"b": "${output}"}, "n": 1}, (("a.b", True),)),
        ({"list": ["x", "${output}"]}, (("list[1]", True),)),
        ("Answer: ${output}", ()),
        ("${output as json}", ()),
        ("${output.text}", ()),
        ({"input": "${input.user_prompt}"}, ()),
    ],
)
def test_text_that_passes_unchanged_is_known_beforehand(output: Any, pipes: Any) -> None:
    assert pipes_of(output=output) == {"__job__": pipes}


def test_text_is_followed_through_job_and_action_outputs() -> None:
    component = chat(action={"output": {"text": "${result}"}})
    jobs = (job("a", "chat", output={"answer": "${output.text}"}),)
    final = graph_of(
        workflow("w", *jobs, output={"final": "${jobs.a.output.answer}"}), components=(component,)
    ).workflows["w"]
    assert [path for path, _ in final.jobs[0].pipes] == ["final"]
    assert final.schema["output"] == [{"name": "final", "type": "text"}]


def test_terminal_maps_are_merged_and_else_the_last_is_taken() -> None:
    maps = (job("a", "chat", output={"x": "${output}"}), job("b", "chat", output={"y": "${output}"}))
    assert pipes_of(jobs=maps) == {"a": (("x", True),), "b": (("y", True),)}
    assert pipes_of(jobs=(job("a", "chat"), job("b", "chat"))) == {"a": (), "b": (("", True),)}


@pytest.mark.parametrize(
    ("changes", "schema"),
    [
        ({}, [{"name": None, "type": "text"}]),
        ({"output": {"generated": "${output}"}}, [{"name": "generated", "type": "text"}]),
        (
            {"output": {"n": 1, "d": "${output as json}"}},
            [{"name": "n", "type": "number"}, {"name": "d", "type": "json"}],
        ),
        ({"output": "${output as markdown}"}, [{"name": None, "type": "markdown"}]),
        ({"jobs": (job("a", "chat", repeat_count=2),)}, [{"name": None, "type": "list"}]),
    ],
)
def test_the_schema_names_the_outputs(changes: dict[str, Any], schema: Any) -> None:
    jobs = changes.pop("jobs", (job("__job__", "chat"),))
    assert graph_of(workflow("w", *jobs, **changes)).workflows["w"].schema["output"] == schema


@pytest.mark.parametrize(
    ("job", "paths"),
    [
        ({"retry": {"max_attempt_count": 3}}, {"a": [""]}),
        ({"on_error": {"output": "sorry"}}, {}),
        ({"on_error": {}}, {}),
        ({"timeout_s": 3}, {"a": [""]}),
        ({"repeat_count": 2}, {"a": [""]}),
        ({"type": "for-each", "input": "${input.items}", "do": DO}, {"a": [""]}),
        ({"type": "for-each", "input": "${input.items}", "do": {**DO, "output": "<${output}>"}}, {}),
        ({"type": "loop", "do": DO, "until": {"value": "x"}}, {}),
        ({"type": "delay", "duration": 1, "output": "${input.x}"}, {}),
        ({"type": "filter", "input": "${input.items}"}, {}),
    ],
)
def test_text_is_sent_at_once_only_when_it_is_final(job: dict[str, Any], paths: dict[str, list[str]]) -> None:
    assert paths_of({"id": "a", **job}) == paths


@pytest.mark.parametrize(
    ("job", "word"),
    [
        ({}, "text"),
        ({"on_error": {"output": "sorry"}}, "text"),
        ({"repeat_count": 2}, "list"),
        ({"type": "for-each", "input": "${input.items}", "do": DO}, "list"),
        ({"type": "for-each", "input": "${input.items}", "do": {**DO, "output": {"said": "${output}"}}}, "list"),
        ({"type": "loop", "do": DO, "until": {"value": "x"}}, "text"),
        ({"type": "loop", "do": {**DO, "output": {"x": "${output}"}}, "until": {"value": "x"}}, "object"),
        ({"type": "filter", "input": "${input.items}"}, "list"),
        ({"type": "delay", "duration": 1}, "json"),
    ],
)
def test_every_type_of_job_has_a_type_of_output(job: dict[str, Any], word: str) -> None:
    assert compiled({"id": "a", **job}, output={"out": "${jobs.a.output}"}).schema["output"] == [
        {"name": "out", "type": word}
    ]


def test_a_workflow_without_a_job_that_has_an_output_says_so() -> None:
    assert compiled({"id": "a", "type": "switch", "cases": []}).schema["output"] == [{"name": None, "type": "json"}]


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        (None, {"a": [""], "b": [""]}),
        ("${jobs.a.output | ${jobs.b.output}}", {"a": [""], "b": [""]}),
        ({"said": "${jobs.a.output as markdown | ${jobs.b.output | none}}"}, {"a": ["said"], "b": ["said"]}),
        ({"x": "${jobs.a.output}", "y": "${jobs.b.output}"}, {"a": ["x"], "b": ["y"]}),
    ],
)
def test_whichever_branch_is_taken_is_sent_at_once(output: Any, paths: dict[str, list[str]]) -> None:
    final = compiled(CHOOSE, {"id": "a"}, {"id": "b"}, output=output)
    assert {item.id: [path for path, _ in item.pipes] for item in final.jobs if item.pipes} == paths
    if not isinstance(output, dict):
        assert final.schema["output"] == [{"name": None, "type": "text"}]


def test_maps_of_branches_with_equal_names_are_sent_at_once() -> None:
    a, b = ({"id": name, "output": {"said": "${output}", name: 1}} for name in "ab")
    assert paths_of(CHOOSE, a, b) == {"a": ["said"], "b": ["said"]}
    assert paths_of(a, b) == {"b": ["said"]}


def test_a_map_that_an_error_may_replace_keeps_others_from_being_sent_at_once() -> None:
    a, b = ({"id": name, "output": {"said": "${output}", name: 1}} for name in "ab")
    for on_error in ({}, {"output": {"a": "sorry"}}):
        assert paths_of(a, {**b, "on_error": on_error}) == {}
        assert paths_of({**b, "on_error": on_error}, a) == {"a": ["said"]}
    assert compiled({**a, "on_error": {}}).schema["output"] == [
        {"name": "said", "type": "text"},
        {"name": "a", "type": "number"},
    ]


def test_of_jobs_that_may_both_run_only_the_one_that_counts_is_sent_at_once() -> None:
    assert paths_of({"id": "a"}, {"id": "b"}) == {"b": [""]}
    assert paths_of({"id": "a"}, {"id": "b"}, output="${jobs.a.output | ${jobs.b.output}}") == {"a": [""]}


def test_what_follows_the_branches_is_sent_at_once() -> None:
    merge = {"id": "merge", "input": {"prompt": "${jobs.a.output | ${jobs.b.output}}"}, "depends_on": [["a", "b"]]}
    assert paths_of(CHOOSE, {"id": "a"}, {"id": "b"}, merge) == {"merge": [""]}
    more = [{"id": f"more {name}", "input": {"prompt": f"${{jobs.{name}.output}}"}} for name in "ab"]
    assert paths_of(CHOOSE, {"id": "a"}, {"id": "b"}, *more) == {"more a": [""], "more b": [""]}


def test_a_job_that_may_be_visited_again_is_sent_when_it_is_over() -> None:
    after = {"id": "after", "input": {"prompt": "${jobs.a.output}"}}
    assert paths_of(*AGAIN, output={"a": "${jobs.a.output}", "b": "${jobs.b.output}"}) == {"b": ["b"]}
    assert paths_of(*AGAIN, after, output="${jobs.after.output}") == {}


INNER = {
    "text": None,
    "map": {"answer": {"text": "${output}"}, "n": 1},
    "list": ["${output}"],
}


@pytest.mark.parametrize(
    ("inner", "action", "output", "pipes"),
    [
        ("text", None, None, [("", "", "text")]),
        ("map", None, None, [("answer.text", "answer.text", "text")]),
        ("map", "${result.answer.text}", {"x": "${output}"}, [("x", "answer.text", "text")]),
        ("list", {"first": "${result[0]}"}, "${output.first as markdown}", [("", "[0]", "markdown")]),
        ("text", "<${result}>", None, []),
    ],
)
def test_text_is_followed_into_the_workflow_that_a_job_runs(inner: str, action: Any, output: Any, pipes: Any) -> None:
    graph = graph_of(
        workflow("inner", job("a", "text"), output=INNER[inner]),
        workflow("outer", job("run", "again"), output=output),
        components=(text(), runs("again", "inner", output=action)),
    )
    (outer,) = graph.workflows["outer"].jobs
    assert [(path, pipe.inner, pipe.type) for path, pipe in outer.pipes] == pipes


def test_text_of_an_inner_workflow_is_told_by_its_path() -> None:
    pipe = Piped("run", "text", inner="answers[0]")
    assert [pipe.part(path) for path in ("answers[0]", "answers[0][3]", "answers[0].x", "answers[01]", "answers")] == [
        "",
        "[3]",
        None,
        None,
        None,
    ]


def test_an_inner_workflow_with_branches_is_one_text_to_the_outer_one() -> None:
    branching = workflow("inner", jobs=[CHOOSE, *({"type": "component", "id": name, **DO} for name in "ab")])
    graph = graph_of(branching, workflow("outer", job("run", "again")), components=(text(), runs("again", "inner")))
    assert graph.workflows["outer"].shape == Piped("run", "text")


def test_the_first_that_is_there_is_sent_at_once_when_no_other_can_be() -> None:
    a, b = (Piped(name, "text", choices=frozenset({("choose", name)})) for name in "ab")
    other = Piped("other", "markdown")
    assert first_there([a, b]) == Either((a, b))
    assert first_there([a, b, other]) == Either((a, b, Opaque("markdown")))
    assert first_there([other, a]) == Either((other, Opaque("text")))
    assert first_there([Opaque("text"), b]) == Opaque("text")
    assert first_there([{"x": a}, b]) == {"x": a}
