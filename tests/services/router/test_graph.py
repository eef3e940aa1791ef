"""Settings become a typed graph whose mistakes are found before anything runs."""

from typing import Any

import pytest

from services.errors import ServiceError
from services.router.compiling import compile_graph
from services.router.expression import parse
from services.router.graph import (
    Branch,
    CallWork,
    Combine,
    Compare,
    DelayWork,
    FilterWork,
    ForEachWork,
    Graph,
    GraphError,
    IfWork,
    LoopWork,
    ModelCall,
    OnError,
    RandomWork,
    Retry,
    SwitchWork,
    Work,
    Workflow,
    WorkflowCall,
)
from services.router.settings import (
    ComponentSettings,
    RouterSettings,
    WorkflowComponentSettings,
    WorkflowSettings,
)
from tests.services.router.rig import chat, job, text, workflow

pytestmark = pytest.mark.unit

AnyComponent = ComponentSettings | WorkflowComponentSettings


def graph_of(*workflows: WorkflowSettings, components: tuple[AnyComponent, ...] = (chat(), text())) -> Graph:
    return compile_graph(RouterSettings(components=components, workflows=workflows))


def compiled(
    *jobs: dict[str, Any], components: tuple[AnyComponent, ...] = (chat(), text()), **changes: Any
) -> Workflow:
    """A workflow of these jobs; a job is of `text` unless it has a type of its own."""
    implied = {"type": "component", "component": "text", "action": "__action__"}
    written = [item if "type" in item else {**implied, **item} for item in jobs]
    return graph_of(workflow("w", jobs=written, **changes), components=components).workflows["w"]


def runs(name: str, inner: str, **changes: Any) -> WorkflowComponentSettings:
    """A component that runs the workflow `inner`."""
    action = {"id": "__action__", "workflow": inner, **changes}
    return WorkflowComponentSettings.model_validate({"type": "workflow", "id": name, "actions": [action]})


DO = {"component": "text", "action": "__action__"}
TEXT = graph_of(workflow("text")).components["text"]
CALL = ModelCall(TEXT, TEXT.actions["__action__"], None)


def test_fields_without_expressions_are_final_values() -> None:
    action = {"fields": {"text": "${input.prompt}", "temperature": "0.5", "top_k": 3, "stop_sequences": "\n"}}
    graph = graph_of(workflow("text"), components=(text(action=action),))
    compiled = graph.components["text"].actions["__action__"]
    assert compiled.constants == {"temperature": 0.5, "top_k": 3, "stop_sequences": ["\n"]}
    assert list(compiled.templates) == ["text"]


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"fields": {"text": "x", "temperature": "warm"}}, "temperature must be a number, not 'warm'"),
        ({"fields": {"text": "x", "temprature": 1}}, "unknown field 'temprature'"),
    ],
)
def test_an_action_that_cannot_work_is_refused(action: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        graph_of(workflow("text"), components=(text(action=action),))


def test_reading_another_jobs_output_makes_a_dependency() -> None:
    jobs = (
        job("a", "text"),
        job("b", "text", input={"prompt": "${jobs.a.output}"}),
        job("c", "text", depends_on=(("a",),), output={"x": "${output}", "y": "${jobs.b.output}"}),
    )
    compiled = graph_of(workflow("w", *jobs)).workflows["w"]
    assert [(item.id, item.needs) for item in compiled.jobs] == [
        ("a", ()),
        ("b", (("a",),)),
        ("c", (("a",), ("b",))),
    ]
    assert compiled.terminal == ("c",)


@pytest.mark.parametrize(
    ("settings", "work"),
    [
        ({"type": "component", **DO, "repeat_count": "${input.n}"}, CallWork(CALL, parse("${input.n}"))),
        ({"type": "delay", "duration": "1m"}, DelayWork("1m", None, None)),
        (
            {"type": "delay", "mode": "specific-time", "duration": "1m", "time": "22:00", "timezone": "${input.z}"},
            DelayWork(None, "22:00", parse("${input.z}")),
        ),
        (
            {
                "type": "if",
                "input": "${input.n}",
                "conditions": [
                    {"operator": "gt", "value": 3, "if_true": "other"},
                    {"input": "${input.m}", "value": "${input.k}", "if_false": "other"},
                ],
                "otherwise": "other",
            },
            IfWork(
                parse("${input.n}"),
                (
                    Branch(Compare(None, "gt", 3), "other", None),
                    Branch(Compare(parse("${input.m}"), "eq", parse("${input.k}")), None, "other"),
                ),
                "other",
            ),
        ),
        (
            {"type": "switch", "input": "${input.n}", "cases": [{"value": 1, "then": "other"}]},
            SwitchWork(parse("${input.n}"), ((1, "other"),), None),
        ),
        (
            {"type": "random-router", "routings": [{"to": "other", "weight": 3}], "session": "${context.session_id}"},
            RandomWork((("other", 1.0),), parse("${context.session_id}")),
        ),
        (
            {"type": "random-router", "mode": "weighted", "routings": [{"to": "other", "weight": 3}]},
            RandomWork((("other", 3.0),), None),
        ),
        (
            {
                "type": "filter",
                "input": "${input.items}",
                "where": {"all": [{"input": "${item}", "operator": "in", "value": ["a"]}, {"not_": {"value": 1}}]},
            },
            FilterWork(
                parse("${input.items}"),
                Combine("all", (Compare(parse("${item}"), "in", ["a"]), Combine("not", (Compare(None, "eq", 1),)))),
            ),
        ),
        (
            {"type": "for-each", "input": "${input.items}", "batch_size": 4, "do": {**DO, "output": "${output}!"}},
            ForEachWork(parse("${input.items}"), 4, CALL, parse("${output}!")),
        ),
        (
            {"type": "loop", "do": DO, "until": {"input": "${output}", "operator": "match", "value": "[a-z]+"}},
            LoopWork(None, CALL, None, Compare(parse("${output}"), "match", "[a-z]+"), True, 100),
        ),
        (
            {"type": "loop", "do": DO, "while_": {"any": [{"value": "x"}]}, "max_iteration_count": 3},
            LoopWork(None, CALL, None, Combine("any", (Compare(None, "eq", "x"),)), False, 3),
        ),
    ],
)
def test_every_type_of_job_becomes_its_work(settings: dict[str, Any], work: Work) -> None:
    assert compiled({"id": "a", **settings}, {"id": "other"}).jobs[0].work == work


def test_retries_errors_and_limits_are_compiled() -> None:
    a, b, c = compiled(
        {"id": "a", "retry": {"max_attempt_count": 3}, "on_error": {}, "timeout_s": 5, "max_run_count": 2},
        {"id": "b", "retry": {"max_attempt_count": 2, "backoff": "exponential", "delay_s": 2, "max_delay_s": 9}},
        {"id": "c", "on_error": {"output": {"why": "${error.message}"}}},
    ).jobs
    assert (a.retry, a.on_error, a.timeout_s, a.max_run_count) == (Retry(3, 1, 1, 60), OnError(None, None), 5, 2)
    assert b.retry == Retry(2, 2, 2, 9)
    assert c.on_error == OnError({"why": parse("${error.message}")}, None)


def test_jobs_know_where_they_lead_and_whether_they_wait_to_be_chosen() -> None:
    jobs = compiled(
        {
            "id": "choose",
            "type": "switch",
            "input": "${input.k}",
            "cases": [{"value": 1, "then": "a"}],
            "otherwise": "b",
        },
        {"id": "a", "on_error": {"to": "b"}},
        {"id": "b"},
        {"id": "c"},
    ).jobs
    assert [(item.id, item.targets, item.routed) for item in jobs] == [
        ("choose", ("a", "b"), False),
        ("a", ("b",), True),
        ("b", (), True),
        ("c", (), False),
    ]


def test_every_template_of_a_job_can_make_a_dependency() -> None:
    reading = {"input": "${jobs.a.output}", "operator": "gt", "value": "${jobs.b.output | ${jobs.c.output}}"}
    jobs = compiled(
        *({"id": name} for name in "abcde"),
        {"id": "if", "type": "if", "depends_on": [["d", "b"]], "conditions": [{**reading, "if_true": "end"}]},
        {"id": "filter", "type": "filter", "input": "${jobs.d.output}", "where": reading},
        {"id": "each", "type": "for-each", "input": "${jobs.a.output}", "do": {**DO, "input": "${jobs.b.output}"}},
        {"id": "safe", "on_error": {"output": "${jobs.e.output}"}},
        {"id": "end"},
    ).jobs
    assert {item.id: item.needs for item in jobs if item.needs} == {
        "if": (("d", "b"), ("a",), ("c",)),
        "filter": (("d",), ("a",), ("b",), ("c",)),
        "each": (("a",), ("b",)),
        "safe": (("e",),),
    }


@pytest.mark.parametrize(
    ("choice", "terminal"),
    [
        ({"if_true": "a", "if_false": "b"}, ("a", "b")),
        ({"if_true": "a"}, ("start", "a", "b")),
    ],
)
def test_a_run_may_end_with_what_only_a_router_waits_for(choice: dict[str, str], terminal: tuple[str, ...]) -> None:
    routed = [{"id": "keep", "type": "switch", "cases": [], "otherwise": "b"}] if len(choice) == 1 else []
    jobs = ({"id": "start"}, {"id": "if", "type": "if", "input": "${jobs.start.output}", "conditions": [choice]})
    assert compiled(*jobs, {"id": "a"}, {"id": "b"}, *routed).terminal == terminal


def test_a_workflow_component_runs_another_workflow_of_the_file() -> None:
    outer = workflow("outer", job("run", "again", input={"q": "${input.question}"}))
    components = (text(), runs("again", "inner", input={"prompt": "${input.q}"}, output="${result}!"))
    graph = graph_of(workflow("inner", job("a", "text")), outer, components=components)
    assert graph.workflows["outer"].jobs[0].work == CallWork(
        WorkflowCall(
            "again", "inner", {"q": parse("${input.question}")}, {"prompt": parse("${input.q}")}, parse("${result}!")
        ),
        None,
    )
    assert [graph.workflows[name].schema["task"] for name in graph.workflows] == ["text-generation"] * 2
    assert list(graph.components) == ["text"]


def test_the_task_of_a_workflow_is_that_of_its_only_model() -> None:
    assert compiled({"id": "a"}, {"id": "b"}).schema["task"] == "text-generation"
    assert compiled({"id": "a"}, {"id": "b", "component": "chat"}).schema["task"] is None
    assert compiled({"id": "a", "type": "delay", "duration": 1}).schema["task"] is None


def test_workflows_that_run_each_other_are_refused() -> None:
    components = (runs("x", "two"), runs("y", "one"), runs("z", "three"))
    with pytest.raises(GraphError, match=r"run each other: \['one', 'two', 'one'\]"):
        graph_of(workflow("one", job("a", "x")), workflow("two", job("a", "y")), components=components)
    with pytest.raises(GraphError, match="unknown workflow 'three'"):
        graph_of(workflow("one", job("a", "z")), components=components)


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        (({"id": "a", "depends_on": [["b"]]}, {"id": "b", "depends_on": [["a"]]}), "wait for each other"),
        (({"id": "a", "input": "${jobs.a.output}"},), "wait for each other: \\['a', 'a'\\]"),
        (({"id": "a", "depends_on": [["z"]]},), "unknown job 'z'"),
        (({"id": "a", "on_error": {"to": "z"}},), "unknown job 'z'"),
        (({"id": "a", "component": "nobody"},), "no component 'nobody'"),
        (({"id": "a", "action": "none"},), "no action 'none'"),
        (
            ({"id": "a", "type": "switch", "cases": [], "otherwise": "a"},),
            "nothing can ever start these jobs: \\['a'\\]",
        ),
        (
            ({"id": "a", "type": "switch", "cases": []}, {"id": "b", "input": "${jobs.a.output}"}),
            "no job of this name has an output",
        ),
        (({"id": "a", "type": "delay"},), "does not say how long"),
        (({"id": "a", "type": "loop", "do": DO},), "either `while` or `until`"),
        (({"id": "a", "type": "filter", "where": {}},), "a condition is one comparison"),
        (({"id": "a", "type": "filter", "where": {"value": 1, "any": []}},), "a condition is one comparison"),
        (
            ({"id": "a", "type": "if", "conditions": [{"operator": "match", "value": "("}]},),
            "cannot be read as a regular expression",
        ),
        (({"id": "a", "type": "random-router", "routings": []},), "none of its routings has a weight"),
    ],
)
def test_jobs_that_do_not_fit_together_are_refused(jobs: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        compiled(*jobs)


def test_an_output_of_a_job_that_is_not_there_is_refused() -> None:
    with pytest.raises(GraphError, match="no job of this name has an output"):
        compiled({"id": "a"}, output="${jobs.b.output}")


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"title": "Another", "description": "x", "private": True, "default": True}, True),
        ({"output": "${output}!"}, False),
        ({"jobs": [{"type": "component", "id": "j", **DO, "input": {"prompt": "x"}}]}, False),
    ],
)
def test_a_digest_changes_when_what_a_run_does_changes(changes: dict[str, Any], is_same: bool) -> None:
    before = graph_of(workflow("w", job("j", "text"))).workflows["w"].digest
    after = graph_of(workflow("w", **{"jobs": (job("j", "text"),), **changes})).workflows["w"].digest
    assert (before == after) is is_same


@pytest.mark.parametrize(
    ("component", "is_same"),
    [
        ({"endpoint": "unix:/elsewhere", "max_concurrent_count": 3, "max_queue_length": 1, "default": True}, True),
        ({"model": "another"}, False),
        ({"action": {"fields": {"text": "${input.prompt}!"}}}, False),
    ],
)
def test_a_digest_includes_what_is_asked_of_models_also_inside_workflows(component: Any, is_same: bool) -> None:
    def digest(**changes: Any) -> str:
        inner, outer = workflow("inner", job("a", "text")), workflow("outer", job("a", "again"))
        return graph_of(inner, outer, components=(text(**changes), runs("again", "inner"))).workflows["outer"].digest

    assert (digest() == digest(**component)) is is_same


def test_the_only_workflow_is_the_default() -> None:
    assert graph_of(workflow("chat")).workflow(None).id == "chat"


def test_the_marked_workflow_is_the_default_of_several() -> None:
    assert graph_of(workflow("chat"), workflow("text", default=True)).workflow(None).id == "text"


def test_a_private_workflow_is_no_default() -> None:
    hidden = workflow("chat", private=True, default=True)
    assert graph_of(hidden, workflow("text")).workflow(None).id == "text"
    with pytest.raises(ServiceError) as caught:
        graph_of(hidden).workflow(None)
    assert (caught.value.status, caught.value.message) == (404, "The file has no public workflow.")


def test_without_a_default_the_client_must_choose() -> None:
    with pytest.raises(ServiceError) as refused:
        graph_of(workflow("chat"), workflow("text")).workflow(None)
    assert (refused.value.status, refused.value.hint) == (422, 'Set "workflow_id" to one of "chat", "text".')


def test_an_unknown_workflow_lists_the_known_public_ones() -> None:
    with pytest.raises(ServiceError) as refused:
        graph_of(workflow("chat"), workflow("text", private=True)).workflow("chatt")
    assert (refused.value.status, refused.value.hint) == (404, 'Did you mean "chat"? Known: "chat".')


def test_a_private_workflow_is_unknown_outside() -> None:
    with pytest.raises(ServiceError, match='no workflow "text"'):
        graph_of(workflow("chat"), workflow("text", private=True)).workflow("text")


def test_a_file_asks_for_streams_by_action_or_output() -> None:
    asking = chat(action={"streaming": True})
    assert graph_of(workflow("chat"), components=(asking,)).workflows["chat"].streaming
    assert graph_of(workflow("chat", output="${output as stream/text}")).workflows["chat"].streaming
    assert not graph_of(workflow("chat")).workflows["chat"].streaming


def test_a_history_is_for_the_only_chat_of_a_workflow() -> None:
    talk = {"component": "chat"}
    assert compiled({"id": "a", **talk}, {"id": "b"}).schema["history"] is True
    assert compiled({"id": "a", **talk}, {"id": "b", **talk}).schema["history"] is False
    assert compiled({"id": "a"}).schema["history"] is False
