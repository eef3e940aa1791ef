"""What the router answers is what its description says (asked by schemathesis), and the page about it is safe."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.services.router.rig import Stack, http, stack, text, workflow
from tests.services.router.test_documents import components, workflows

pytestmark = pytest.mark.server

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


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    with TemporaryDirectory(prefix="mc-") as path, stack(Path(path), components(), workflows()) as started:
        yield started


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


def test_with_a_token_description_and_page_need_it(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")], auth_token="secret") as guarded:
        for path in ("/openapi.json", "/docs", "/docs/page.js"):
            url = f"{guarded.router.address}{path}"
            assert http("GET", url).status_code == 401
            assert http("GET", url, headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_page_may_load_and_reach_this_server_only(running: Stack) -> None:
    answer = http("GET", f"{running.router.address}/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "//" not in answer.text.removeprefix("<!doctype html>")
