"""Settings become a typed graph whose mistakes are found before anything runs."""

from typing import Any

import pytest

from services.errors import ServiceError
from services.router.compiling import compile_graph
from services.router.graph import Graph, GraphError
from services.router.settings import ComponentSettings, RouterSettings, WorkflowSettings
from tests.services.router.rig import chat, job, text, workflow

pytestmark = pytest.mark.unit


def graph_of(*workflows: WorkflowSettings, components: tuple[ComponentSettings, ...] = (chat(), text())) -> Graph:
    return compile_graph(RouterSettings(components=components, workflows=workflows))


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
    ("jobs", "sentence"),
    [
        ((job("a", "text", depends_on=(("b",),)), job("b", "text", depends_on=(("a",),))), "wait for each other"),
        ((job("a", "text", depends_on=(("z",),)),), "unknown job 'z'"),
        ((job("a", "nobody"),), "no component 'nobody'"),
    ],
)
def test_jobs_that_do_not_fit_together_are_refused(jobs: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        graph_of(workflow("w", *jobs))


def test_the_only_workflow_is_the_default() -> None:
    assert graph_of(workflow("chat")).workflow(None).id == "chat"


def test_the_marked_workflow_is_the_default_of_several() -> None:
    assert graph_of(workflow("chat"), workflow("text", default=True)).workflow(None).id == "text"


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


def pipes_of(**changes: Any) -> dict[str, Any]:
    compiled = graph_of(workflow("w", *changes.pop("jobs", (job("__job__", "chat"),)), **changes)).workflows["w"]
    return {item.id: tuple((path, pipe.carries("[0]", "[0]")) for path, pipe in item.pipes) for item in compiled.jobs}


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
    compiled = graph_of(
        workflow("w", *jobs, output={"final": "${jobs.a.output.answer}"}), components=(component,)
    ).workflows["w"]
    assert [path for path, _ in compiled.jobs[0].pipes] == ["final"]
    assert compiled.schema["output"] == [{"name": "final", "type": "text"}]


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


def test_a_file_asks_for_streams_by_action_or_output() -> None:
    asking = chat(action={"streaming": True})
    assert graph_of(workflow("chat"), components=(asking,)).workflows["chat"].streaming
    assert graph_of(workflow("chat", output="${output as stream/text}")).workflows["chat"].streaming
    assert not graph_of(workflow("chat")).workflows["chat"].streaming
