"""The API's description: true to the file's workflows, and true to what the router answers (asked by schemathesis)."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import schemathesis

from services.router.compiling import compile_graph
from services.router.documents.openapi import openapi
from services.router.settings import ComponentSettings, RouterSettings, WorkflowSettings
from tests.services.router.rig import CHAT_FIELDS, Stack, chat, http, job, stack, text, workflow

pytestmark = pytest.mark.unit

MakeStack = Callable[..., AbstractContextManager[Stack]]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""Not those that want each value of a wrong type refused: text that reads as a number is one, by our contract."""


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


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    with TemporaryDirectory(prefix="mc-") as path, stack(Path(path), components(), workflows()) as started:
        yield started


@pytest.mark.server
@pytest.mark.parametrize("examples", [10, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_the_router_answers_as_the_document_says(running: Stack, tmp_path: Path, examples: int) -> None:
    options = ["--seed", "1", "--max-examples", str(examples), "--generation-database", "none", "--no-color"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.router.address}/openapi.json", *options]
    done = subprocess.run(
        [*command, "--checks", ",".join(CHECKS), "--request-timeout", "20", "--continue-on-failure"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in running.router.log.read_text()
    assert running.tasks["chat"].counters()["started"] > 0


@pytest.mark.server
def test_every_address_of_the_router_is_described(running: Stack) -> None:
    described = http("GET", f"{running.router.address}/openapi.json").json()["paths"]
    assert set(described) == {
        "/api/workflows/runs",
        "/api/workflows",
        "/api/workflows/{workflow_id}/schema",
        "/api/tasks",
        "/api/tasks/{task_id}",
        "/api/tasks/{task_id}/cancel",
        "/api/health",
        "/api/ready",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    }


@pytest.mark.server
def test_with_a_token_description_and_page_need_it(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")], auth_token="secret") as guarded:
        for path in ("/openapi.json", "/docs", "/docs/page.js"):
            url = f"{guarded.router.address}{path}"
            assert http("GET", url).status_code == 401
            assert http("GET", url, headers={"Authorization": "Bearer secret"}).status_code == 200


@pytest.mark.server
def test_the_page_may_load_and_reach_this_server_only(running: Stack) -> None:
    answer = http("GET", f"{running.router.address}/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "//" not in answer.text.removeprefix("<!doctype html>")
