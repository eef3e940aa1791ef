"""Results that are no texts: known in their types before a run, whole in an answer, and never in pieces."""

import json
from typing import Any

import jsonschema
import pytest

from services.router.compiling import compile_graph
from services.router.documents.schemas import WorkflowSchemas
from services.router.graph import Workflow
from services.router.settings import ComponentSettings, RouterSettings
from tests.services.router.rig import chat, job, workflow
from tests.services.router.test_streaming import stream

VECTOR = {"anyOf": [{"type": "number"}, {"type": "null"}]}
TEXT = {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]}


def component(task: str, **fields: Any) -> ComponentSettings:
    return chat("c", task=task, action={"fields": fields})


def workflow_over(task: str, fields: dict[str, Any], **changes: Any) -> Workflow:
    settings = RouterSettings(components=(component(task, **fields),), workflows=(workflow("c", **changes),))
    return compile_graph(settings).workflows["c"]


def described(task: str, fields: dict[str, Any], **changes: Any) -> tuple[list[Any], Any]:
    """The names and types of the output's parts, and its schema without its title."""
    compiled = workflow_over(task, fields, **changes)
    schemas = WorkflowSchemas(compiled, "c", default=True)
    schema = schemas.definitions()[schemas.output]
    assert schema.pop("title") == "Output of c"
    return [(part["name"], part["type"]) for part in compiled.schema["output"]], schema


LABEL = {
    "type": "object",
    "properties": {
        "label": TEXT,
        "label_id": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
}
PARTS = [("label", "text"), ("label_id", "integer"), ("score", "number")]
RANKED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "index": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "document": {},
    },
}
RANKING = {"query": "${input.query}", "documents": "${input.documents}"}


def a_list(item: Any) -> dict[str, Any]:
    return {"anyOf": [{"type": "array", "items": item}, {"type": "null"}]}


def or_null(schema: Any) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("task", "fields", "output", "parts", "schema"),
    [
        ("text-embedding", {"text": "${input.text as text}"}, None, [(None, "list")], a_list(VECTOR)),
        ("text-embedding", {"text": ["a", "${input.b}"]}, None, [(None, "list")], a_list(a_list(VECTOR))),
        (
            "text-embedding",
            {"text": "${input.text}"},
            {"vector": "${output}", "first": "${output[0][0]}"},
            [("vector", "list"), ("first", "number")],
            or_null(
                {
                    "type": "object",
                    "properties": {
                        "vector": a_list({"anyOf": [*VECTOR["anyOf"], {"type": "array", "items": VECTOR}]}),
                        "first": VECTOR,
                    },
                }
            ),
        ),
        ("text-classification", {"text": "Dear ${input.name}"}, None, PARTS, or_null(LABEL)),
        ("text-classification", {"text": ["a", "b"]}, None, [(None, "list")], a_list(or_null(LABEL))),
        (
            "text-classification",
            {"text": "${input.text}"},
            None,
            [(None, "json")],
            {"anyOf": [LABEL, {"type": "null"}, {"type": "array", "items": or_null(LABEL)}]},
        ),
        (
            "text-classification",
            {"text": "${input.text}", "return_probabilities": True},
            {"label": "${output.label}", "all": "${output.probabilities}"},
            [("label", "text"), ("all", "list")],
            or_null({"type": "object", "properties": {"label": TEXT, "all": or_null({"type": "array"})}}),
        ),
        ("text-reranking", RANKING, None, [(None, "list")], a_list(or_null(RANKED))),
        (
            "text-reranking",
            RANKING,
            {"scores": "${output[*].score}", "best": "${output[0].index}", "two": "${output[:2]}"},
            [("scores", "list"), ("best", "integer"), ("two", "list")],
            or_null(
                {
                    "type": "object",
                    "properties": {
                        "scores": a_list(VECTOR),
                        "best": RANKED["properties"]["index"],
                        "two": a_list(or_null(RANKED)),
                    },
                }
            ),
        ),
        ("summarization", {"text": "${input.text as text}"}, None, [(None, "text")], TEXT),
    ],
)
def test_a_result_is_known_in_its_types(task: str, fields: Any, output: Any, parts: Any, schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert described(task, fields, output=output) == (parts, schema)


LABELLED = {"label": "positive", "label_id": 1, "score": 0.9, "probabilities": [0.1, 0.9]}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("task", "fields", "results"),
    [
        ("text-embedding", {"text": "${input.text}"}, [[0.5, 1], [[0.5, 1], [0.0, -1]]]),
        ("text-embedding", {"text": ["a", "b"]}, [[[0.5, 1], [0.0, -1]]]),
        ("text-classification", {"text": "${input.text}"}, [LABELLED, [LABELLED, LABELLED]]),
        ("text-classification", {"text": "a", "return_probabilities": True}, [LABELLED]),
        ("text-reranking", RANKING, [[], [{"index": 1, "score": -3.5}, {"index": 0, "score": 0, "document": "a"}]]),
    ],
)
def test_results_fit_their_description(task: str, fields: Any, results: list[Any]) -> None:
    _, schema = described(task, fields)
    for result in results:
        jsonschema.validate(result, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("a text", schema)


@pytest.mark.unit
@pytest.mark.parametrize("asked", ["${input.more}", "${input.more | true}"])
def test_what_a_client_may_leave_out_is_not_promised(asked: str) -> None:
    parts, _ = described("text-classification", {"text": "a", "return_probabilities": asked})
    assert parts == PARTS
    parts, schema = described("text-reranking", {**RANKING, "return_documents": False})
    assert list(schema["anyOf"][0]["items"]["anyOf"][0]["properties"]) == ["index", "score"]


@pytest.mark.unit
def test_a_choice_is_an_input_to_select_from() -> None:
    fields = {"text": "${input.text}", "pooling": "${input.how | mean}", "normalize": "${input.unit}"}
    assert workflow_over("text-embedding", fields).schema["input"][1:] == [
        {
            "name": "how",
            "type": "select",
            "required": False,
            "default": "mean",
            "description": None,
            "options": ["mean", "cls", "max"],
        },
        {"name": "unit", "type": "boolean", "required": False, "default": None, "description": None},
    ]


@pytest.mark.unit
def test_a_part_of_a_choice_and_an_item_of_a_list_are_texts() -> None:
    fields = {"query": "q", "documents": ["${input.a}", {"body": "${input.b}"}], "document_field": "${input.key}"}
    inputs = workflow_over("text-reranking", fields).schema["input"]
    assert [(item["name"], item["type"], item["required"]) for item in inputs] == [
        ("a", "text", True),
        ("b", "text", True),
        ("key", "text", False),
    ]
    inputs = workflow_over("text-embedding", {"text": "x", "pooling": "${input.how}${input.rest}"}).schema["input"]
    assert [(item["name"], item["type"]) for item in inputs] == [("how", "text"), ("rest", "text")]


@pytest.mark.server
async def test_vectors_come_whole_in_an_answer_and_at_the_end_of_a_stream(make_stack: Any) -> None:
    embedder = component("text-embedding", text="${input.text}", pooling="${input.pooling}")
    asked = {"text": json.dumps({"result": [0.5, -1.0]})}
    with make_stack([embedder], [workflow("c", output={"vector": "${output}"}, default=True)]) as started:
        answer = started.post({"input": asked, "output_only": True})
        assert (answer.status_code, answer.json()) == (200, {"vector": [0.5, -1.0]})
        _, events = await stream(started, {"input": asked})
        assert [name for name, _ in events] == ["done"]
        assert json.loads(events[0][1])["output"] == {"vector": [0.5, -1.0]}
        refused = started.post({"input": {**asked, "pooling": "meam"}})
        assert refused.status_code == 422
        assert refused.json()["error"]["message"] == "\"pooling\" must be one of mean, cls, max, not 'meam'."


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "given", "described_as"),
    [
        ("${input.text}", None, {"type": ["string", "array"], "items": {"type": "string"}}),
        ("${input.text | none}", None, {"type": ["string", "array", "null"], "items": {"type": "string"}}),
        ("${input.text as text}", None, {"type": "string"}),
        ("Dear ${input.text}", None, {"type": "string"}),
        (["${input.text}"], None, {"type": "string"}),
        (
            "${input.sentence}",
            {"sentence": "${input.text}"},
            {"type": ["string", "array"], "items": {"type": "string"}},
        ),
        ("${input.sentence}", {"sentence": "- ${input.text}"}, {"type": "string"}),
    ],
)
def test_an_input_that_may_be_a_list_of_texts_is_described_so(text: Any, given: Any, described_as: Any) -> None:
    jobs = [job("j", "c", input=given)]
    settings = RouterSettings(components=(component("text-embedding", text=text),), workflows=(workflow("w", *jobs),))
    schemas = WorkflowSchemas(compile_graph(settings).workflows["w"], "w", default=True)
    request = schemas.definitions()[schemas.request]["properties"]["input"]
    inputs = next(schema for schema in (request, *request.get("anyOf", ())) if "properties" in schema)["properties"]
    assert {key: inputs["text"][key] for key in ("type", "items") if key in inputs["text"]} == described_as
