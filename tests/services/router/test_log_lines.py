"""What the logs say of runs: a line each in the router and in the tasks, joined by ids, and nothing of the contents."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services import logs
from services.router.settings import RouterSettings
from tests.services.router.rig import Stack, echo_task, eventually, http, router, text, workflow

pytestmark = pytest.mark.server

SECRET = "a-prompt-that-is-nobodys-business"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv(logs.FORMAT, "json")
    with echo_task(folder, "text") as task:
        settings = RouterSettings(
            components=(text(endpoint=task.address),),
            workflows=(workflow("text", output={"answer": "${output}"}),),
            env={"API_KEY": "key-that-is-secret"},
        )
        with router(folder, settings) as service:
            yield Stack(service, {"text": task}, service.address + "/api")


def lines(running: Stack, count: int) -> list[dict[str, Any]]:
    """The first lines of the router's log, once there are so many."""
    eventually(lambda: len(running.router.log.read_text().splitlines()) >= count)
    return [json.loads(line) for line in running.router.log.read_text().splitlines()]


def test_each_run_has_one_line_with_its_ids_and_figures(running: Stack) -> None:
    headers = {"X-Request-Id": "mine-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = running.post({"input": {"prompt": "one two"}}, headers=headers)
    (line,) = lines(running, 1)
    assert isinstance(line.pop("time"), str)
    assert 0 <= line.pop("duration_s") < 5
    assert line == {
        "level": "info",
        "logger": "services.router.runs.run_log",
        "message": "run ended",
        "run_id": answer.json()["task_id"],
        "request_id": "mine-1",
        "trace_id": TRACE,
        "workflow": "text",
        "status": "completed",
        "prompt_tokens": 2,
        "completion_tokens": 2,
    }


def test_a_run_that_failed_names_its_code_and_is_a_warning_only_when_we_failed(running: Stack) -> None:
    running.post({"input": {"prompt": json.dumps({"refuse": [422, "prompt_too_long"]})}})
    running.post({"input": {"prompt": json.dumps({"fail_at": 0})}})
    found = [(line["level"], line["status"], line["code"]) for line in lines(running, 2)]
    assert found == [("info", "failed", "prompt_too_long"), ("warning", "failed", "generation_failed")]


def test_an_asynchronous_run_has_its_line_too(running: Stack) -> None:
    body = {"input": {"prompt": "x"}, "wait_for_completion": False}
    answer = running.post(body, headers={"X-Request-Id": "mine-2"})
    (line,) = lines(running, 1)
    assert (line["run_id"], line["request_id"]) == (answer.json()["task_id"], "mine-2")


def test_no_line_holds_what_was_asked_or_answered_or_a_secret(running: Stack) -> None:
    for knobs in ({"text": SECRET}, {"fail_at": 0, "text": SECRET}, {"broken": "json", "text": SECRET}):
        running.post({"input": {"prompt": json.dumps(knobs)}, "metadata": {"note": SECRET}})
    running.post({"input": {"prompt": SECRET}, "history": [{"role": "user", "content": SECRET}]})
    running.post({SECRET: 1})
    http("GET", f"{running.base}/tasks/{SECRET}")
    lines(running, 3)
    said = running.router.log.read_text()
    assert SECRET not in said
    assert "key-that-is-secret" not in said


def test_the_level_silences_what_went_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.LEVEL, "warning")
    with echo_task(folder, "text") as task:
        settings = RouterSettings(components=(text(endpoint=task.address),), workflows=(workflow("text"),))
        with router(folder, settings) as service:
            running = Stack(service, {}, service.address + "/api")
            running.post({"input": {"prompt": "well"}})
            running.post({"input": {"prompt": json.dumps({"fail_at": 0})}})
            eventually(service.log.read_text)
            assert service.log.read_text().startswith("run ended ")
            assert "code=generation_failed" in service.log.read_text()
            assert service.log.read_text().count("\n") == 1
