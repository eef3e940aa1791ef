"""However a run or a request is made to fail, through whichever door and in whichever job: a sentence of ours, and
nothing of our insides, no path, no trace, no library; while the log can be searched for the request's id."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from services.router.app import create_app
from services.router.execution.engine import Engine
from services.router.settings import RouterSettings
from tests.services.router.rig import (
    Stack,
    begin_run,
    chat,
    echo_task,
    eventually,
    http,
    job,
    router,
    text,
    workflow,
)

pytestmark = pytest.mark.server

INSIDES = re.compile(
    re.escape(str(Path(__file__).parents[3]))
    + r"|/(tmp|home|root|srv|usr|var)/|Traceback|\.py\b|\.sock\b|site-packages|File \"|[A-Z]\w+(Error|Exception)\b"
    r"|errno|0x[0-9a-f]{6}|aiohttp|asyncio|httptools|starlette|pydantic|sqlite|secret-value"
)
KNOBS: dict[str, Any] = {
    "refused": {"refuse": [422, "prompt_too_long"]},
    "full": {"refuse": [429, "queue_full"]},
    "failed": {"fail_at": 0},
    "failed in the middle": {"tokens": 3, "fail_at": 2},
    "no JSON": {"broken": "json"},
    "no UTF-8": {"broken": "utf8"},
    "half a character": {"broken": "surrogate"},
    "not finite": {"broken": "nan"},
    "cut off": {"broken": "cut"},
    "unknown frame": {"broken": "type"},
}
CALL = {"component": "text", "action": "__action__", "input": {"prompt": "${input.prompt}"}}
NEVER = {"input": "${output}", "operator": "eq", "value": "never"}
AGAIN = {**CALL, "output": {"prompt": "${output}"}}
LATER = job("later", "text", input={"prompt": "x"})
BAD_PATTERN = [{"operator": "match", "value": "${input.prompt}", "if_true": "later"}]
WORKFLOWS = [
    workflow("text", default=True),
    workflow("chat"),
    workflow("converted", job("j", "text"), output="${output as integer}"),
    workflow("repeated", job("j", "text", repeat_count="${input.count | 3}")),
    workflow("each", {"id": "j", "type": "for-each", "input": ["a", "b"], "batch_size": 2, "do": CALL}),
    workflow("loop", {"id": "j", "type": "loop", "do": AGAIN, "until": NEVER, "max_iteration_count": 3}),
    workflow("delay", {"id": "j", "type": "delay", "duration": "${input.prompt}"}),
    workflow("if", {"id": "j", "type": "if", "input": "aaaa", "conditions": BAD_PATTERN}, LATER),
    workflow("filter", {"id": "j", "type": "filter", "input": "${input.prompt}"}),
    workflow("inner", job("j", "outside")),
    workflow("retried", job("j", "text", retry={"max_attempt_count": 2, "delay_s": 0.01})),
    workflow("late", job("j", "text", timeout_s=0.05)),
    workflow("told", job("j", "text", on_error={"output": "${error.message}"})),
]
RUNS: list[tuple[str, dict[str, Any]]] = [
    *(("text", {"prompt": json.dumps(knobs)}) for knobs in KNOBS.values()),
    *((name, {"prompt": json.dumps({"fail_at": 0})}) for name in ("repeated", "each", "loop", "inner", "retried")),
    ("chat", {"user_prompt": json.dumps({"broken": "json"})}),
    ("converted", {"prompt": "no number"}),
    ("repeated", {"prompt": "x", "count": "many"}),
    ("loop", {"prompt": "on and on"}),
    ("delay", {"prompt": "a while"}),
    ("if", {"prompt": "(("}),
    ("filter", {"prompt": "no list"}),
    ("late", {"prompt": json.dumps({"hang": True})}),
    ("text", {}),
    ("nowhere", {"prompt": "x"}),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    inner = {"id": "outside", "type": "workflow", "actions": [{"id": "__action__", "workflow": "text"}]}
    with (
        TemporaryDirectory(prefix="mc-") as path,
        echo_task(Path(path), "text") as one,
        echo_task(Path(path), "c") as two,
    ):
        settings = RouterSettings.model_validate(
            {
                "components": [text(endpoint=one.address), chat(endpoint=two.address), inner],
                "workflows": WORKFLOWS,
                "env": {"API_KEY": "secret-value"},
                "database": {"driver": "sqlite", "path": f"{path}/runs.db"},
            }
        )
        with router(Path(path), settings) as service:
            yield Stack(service, {"text": one, "chat": two}, service.address + "/api")


def test_a_loop_without_an_end_is_ended(running: Stack) -> None:
    answer = running.post({"workflow_id": "loop", "input": {"prompt": "on and on"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "too_many_iterations")


def check(shown: str, error: dict[str, Any]) -> None:
    assert INSIDES.search(shown) is None, shown
    assert re.fullmatch(r"[A-Z\"].*[.?!]", error["message"]), error
    assert re.fullmatch(r"[a-z0-9_]+", error["code"]), error


@pytest.mark.parametrize(("workflow_id", "given"), RUNS)
@pytest.mark.parametrize("way", ["waiting", "streamed", "asynchronous"])
def test_a_failed_run_shows_nothing_of_our_insides(
    running: Stack, workflow_id: str, given: dict[str, Any], way: str
) -> None:
    body: dict[str, Any] = {"workflow_id": workflow_id, "input": given}
    if way == "asynchronous":
        body["wait_for_completion"] = False
    answer = running.post(body, headers={"Accept": "text/event-stream"} if way == "streamed" else {})
    if answer.status_code == 202:
        path = f"/tasks/{answer.json()['task_id']}"
        eventually(lambda: running.get(path).json()["status"] == "failed")
        assert INSIDES.search(running.get("/tasks").text) is None
        answer = running.get(f"{path}?output_only=true")
    shown = answer.text.rpartition("event: error\ndata: ")[2] if answer.status_code == 200 else answer.text
    error = json.loads(shown)["error"]
    check(answer.text, error)
    assert error["request_id"]


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
@pytest.mark.parametrize("stream", [False, True])
def test_openais_doors_show_nothing_either(running: Stack, knobs: Any, stream: bool) -> None:
    message = {"role": "user", "content": json.dumps(knobs)}
    body = {"model": "chat", "messages": [message], "stream": stream}
    answer = http("POST", f"{running.router.address}/v1/chat/completions", json=body)
    shown = answer.text.split("data: ")[-1] if answer.status_code == 200 else answer.text
    check(answer.text, json.loads(shown)["error"])


def test_an_error_that_a_job_gives_as_its_output_is_a_sentence_too(running: Stack) -> None:
    answer = running.post({"workflow_id": "told", "input": {"prompt": json.dumps({"broken": "json"})}})
    assert answer.json()["output"] == 'The service "text" gave an answer that cannot be read.'


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/nope", {}),
        ("GET", "/api/../../etc/passwd", {}),
        ("PUT", "/api/workflows/runs", {}),
        ("GET", "/api/tasks/%00", {}),
        ("GET", "/api/tasks?limit=many", {}),
        ("GET", "/v1/models/none", {}),
        ("POST", "/api/workflows/runs", {"content": b"{"}),
        ("POST", "/api/workflows/runs", {"content": b"\xff", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/api/workflows/runs", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        ("POST", "/api/workflows/runs", {"content": b"[" * 5000, "headers": {"Content-Type": "application/json"}}),
        ("POST", "/api/workflows/runs", {"json": {"input": {}}, "headers": {"Idempotency-Key": "k"}}),
        ("POST", "/api/workflows/runs", {"json": {"input": {}}, "headers": {"Host": "evil.example"}}),
        ("POST", "/v1/chat/completions", {"json": {"model": "chat"}}),
        ("POST", "/v1/embeddings", {"json": {}}),
    ],
)
def test_a_refused_request_shows_nothing_of_our_insides(
    running: Stack, method: str, path: str, options: dict[str, Any]
) -> None:
    answer = http(method, f"{running.router.address}{path}", **options)
    assert 400 <= answer.status_code < 500
    check(answer.text, answer.json()["error"])


def test_a_request_that_is_no_http_shows_nothing_either(running: Stack) -> None:
    with closing(begin_run(running, "Content-Length: many")) as connection:
        head, _, body = connection.recv(65_536).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    check(head + body, json.loads(body)["error"])


@pytest.mark.parametrize("path", ["/api/workflows/runs", "/v1/completions"])
async def test_a_fault_of_ours_is_told_as_one_and_its_trace_stays_in_the_log(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret-value in /srv/file.py")

    monkeypatch.setattr(Engine, "execute", fail)
    settings = RouterSettings(components=(text(),), workflows=(workflow("text"),))
    app, core = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with core.lifespan(None), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:  # type: ignore[arg-type]  # it is not looked at
        body = {"model": "text", "prompt": "x"} if "v1" in path else {"input": {"prompt": "x"}}
        answer = await client.post(path, json=body, headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 500
    assert INSIDES.search(answer.text) is None
    (record,) = (record for record in caplog.records if record.exc_info)
    assert vars(record)["fields"]["request_id"] == "mine-1"
