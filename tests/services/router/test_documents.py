"""The API's description is true to the file's workflows."""

from typing import Any

import pytest
import schemathesis

from services.router.compiling import compile_graph
from services.router.documents.openapi import openapi
from services.router.settings import ComponentSettings, RouterSettings, WorkflowSettings
from tests.services.router.rig import CHAT_FIELDS, chat, job, text, workflow

pytestmark = pytest.mark.unit


def components() -> list[ComponentSettings]:
    temperature = '${input.temperature as number | 0.7 @(description "How daring.")}'
    return [chat(action={"fields": {**CHAT_FIELDS, "temperature": temperature}}), text()]


def workflows() -> list[WorkflowSettings]:
    kind = {"prompt": "${input.kind as select/story,poem}"}
    return [
        workflow("chat", default=True, title="Chat", description="Says something.", output={"generated": "${output}"}),
        workflow("text"),
        workflow("many words!", job("j", "text", repeat_count="${input.count as integer | 2}", input=kind)),
        workflow("hidden", job("j", "text", input=kind), private=True),
    ]


def document(**changes: Any) -> dict[str, Any]:
    settings = RouterSettings(components=tuple(components()), workflows=tuple(workflows()))
    options = {"base_path": "/api", "title": "model-compose", "version": "1", "token": False, **changes}
    return openapi(compile_graph(settings), **options)


def schemas() -> dict[str, Any]:
    return dict(document()["components"]["schemas"])


def test_the_document_is_openapi() -> None:
    schemathesis.openapi.from_dict(document(token=True)).validate()


def test_every_workflow_has_its_inputs_typed() -> None:
    request = schemas()["chat.Request"]
    assert (request["title"], request["description"], request["required"]) == ("Chat", "Says something.", ["input"])
    assert request["properties"]["workflow_id"] == {"enum": ["chat", None]}
    assert request["properties"]["input"]["required"] == ["user_prompt"]
    assert request["properties"]["input"]["properties"] == {
        "system_prompt": {"type": ["string", "null"]},
        "user_prompt": {"type": "string"},
        "temperature": {"type": ["number", "null"], "default": 0.7, "description": "How daring."},
    }


def test_a_workflow_that_is_not_the_default_must_be_named() -> None:
    assert schemas()["text.Request"]["required"] == ["workflow_id", "input"]
    assert schemas()["text.Request"]["properties"]["workflow_id"] == {"const": "text"}


def test_choices_and_counts_and_odd_names_are_described() -> None:
    request = schemas()["many_words_.Request"]
    assert request["properties"]["workflow_id"] == {"const": "many words!"}
    assert request["properties"]["input"]["properties"] == {
        "kind": {"type": "string", "enum": ["story", "poem"]},
        "count": {"type": ["integer", "null"], "default": 2},
    }


def test_every_workflow_has_its_output_typed() -> None:
    texts = {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]}
    assert schemas()["chat.Output"]["anyOf"][0] == {"type": "object", "properties": {"generated": texts}}
    assert schemas()["text.Output"] == {**texts, "title": "Output of text"}


def test_only_one_chat_takes_a_history() -> None:
    assert "history" in schemas()["chat.Request"]["properties"]
    assert "history" not in schemas()["text.Request"]["properties"]


def test_private_workflows_are_not_told() -> None:
    assert "hidden" not in str(document())


def test_models_are_those_of_the_file() -> None:
    assert schemas()["ChatCompletionRequest"]["properties"]["model"]["enum"] == ["chat", "echo"]


@pytest.mark.parametrize("token", [False, True])
def test_a_token_is_asked_for_where_there_is_one(token: bool) -> None:
    paths = document(token=token)["paths"]
    described = {path: ["401" in found["responses"] for found in methods.values()] for path, methods in paths.items()}
    is_open = {"/api/health", "/api/ready", "/livez", "/readyz"}
    assert described == {path: [token and path not in is_open] for path in paths}
    assert ("security" in document(token=token)) == token
