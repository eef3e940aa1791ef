"""Crashes, delays, overload and deadlines: each has its status, its sentence and its Retry-After, and ends in time."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.router.settings import RouterSettings
from tests.services.router.rig import REPOSITORY, Stack, chat, echo_task, eventually, http, router, text, workflow

pytestmark = pytest.mark.server

MakeStack = Callable[..., AbstractContextManager[Stack]]


def run(running: Stack, prompt: Any, workflow_id: str = "text", **options: Any) -> httpx.Response:
    given = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return running.post({"workflow_id": workflow_id, "input": {"prompt": given}}, **options)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_task_that_crashes_fails_its_own_runs_within_a_second(make_stack: MakeStack) -> None:
    with make_stack([text(), text("other")], [workflow("text"), workflow("other")]) as running:
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(run, running, {"hang": True})
            eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
            running.tasks["text"].process.kill()
            killed = time.monotonic()
            assert error_of(waiting.result()) == (502, "task_crashed")
            assert time.monotonic() - killed < 1
        assert error_of(run(running, "x")) == (503, "not_ready")
        assert run(running, "x", "other").json()["output"] == "x"


def test_a_crash_in_mid_stream_is_an_error_event(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")]) as running:
        answer = run(running, {"tokens": 5, "crash_at": 3}, headers={"Accept": "text/event-stream"})
        *_, last, _ = answer.text.split("\n\n")
        assert answer.text.startswith("data: w0\n\ndata:  w1\n\n")
        assert last.startswith("event: error\n")
        assert '"code":"task_crashed"' in last


def test_a_task_that_came_back_is_used_without_an_error(folder: Path) -> None:
    with echo_task(folder, "text") as first:
        settings = RouterSettings(components=(text(endpoint=first.address),), workflows=(workflow("text"),))
        with router(folder, settings) as service:
            running = Stack(service, {}, service.address + "/api")
            assert run(running, "one").json()["output"] == "one"
            first.process.kill()
            first.process.wait()
            with echo_task(folder, "text"):
                assert run(running, "two").json()["output"] == "two"


@pytest.mark.parametrize(
    ("environment", "stage", "sentence"),
    [
        (
            {"ECHO_READY_AFTER_S": "30"},
            {"stage": "loading", "progress": 0.5},
            'The service "text" is not ready: loading (50%).',
        ),
        (
            {"ECHO_FAILED": "the model does not fit"},
            {"stage": "failed", "message": "the model does not fit"},
            'The service "text" is not ready: failed: the model does not fit.',
        ),
    ],
)
def test_a_task_that_is_not_ready_says_how_far_it_is(folder: Path, environment: Any, stage: Any, sentence: str) -> None:
    with echo_task(folder, "text", **environment) as task:
        settings = RouterSettings(components=(text(endpoint=task.address),), workflows=(workflow("text"),))
        with router(folder, settings) as service:
            running = Stack(service, {}, service.address + "/api")
            answer = run(running, "x")
            assert (*error_of(answer), answer.json()["error"]["message"]) == (503, "not_ready", sentence)
            assert int(answer.headers["Retry-After"]) >= 1
            ready = running.get("/ready")
            found = ready.json()["components"]["text"]
            found.pop("seconds_left", None)
            assert (ready.status_code, found) == (503, stage)
            assert running.get("/health").status_code == 200


def test_of_a_task_that_does_not_answer_the_supervisor_is_asked(folder: Path) -> None:
    stages = folder / "stages.json"
    stages.write_text(json.dumps({"text": {"stage": "downloading", "progress": 0.25, "seconds_left": 12.2}}))
    component = text(endpoint=f"unix:{folder}/nobody.sock")
    settings = RouterSettings(components=(component,), workflows=(workflow("text"),), stages_path=str(stages))
    with router(folder, settings) as service:
        running = Stack(service, {}, service.address + "/api")
        answer = run(running, "x")
        assert answer.json()["error"]["message"] == 'The service "text" is not ready: downloading (25%).'
        assert answer.headers["Retry-After"] == "13"
        stage = {"stage": "downloading", "progress": 0.25, "seconds_left": 12.2}
        assert running.get("/ready").json() == {"status": "starting", "components": {"text": stage}}
        stages.write_text(json.dumps({"text": {"stage": "absent", "message": "it was stopped"}}))
        error = run(running, "x").json()["error"]
        assert error["message"] == 'The service "text" is not ready: it was stopped.'
        assert error["hint"] == "`model-compose start text` starts it again."
        stages.write_text("half a fi")
        assert running.get("/ready").json()["components"]["text"] == {"stage": "absent"}


def test_a_socket_that_nobody_reads_is_not_waited_for(folder: Path) -> None:
    path = str(folder / "silent.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        settings = RouterSettings(components=(text(endpoint=f"unix:{path}"),), workflows=(workflow("text"),))
        with router(folder, settings) as service:
            running = Stack(service, {}, service.address + "/api")
            began = time.monotonic()
            assert error_of(run(running, "x")) == (503, "not_ready")
            assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("knobs", "status", "code"),
    [
        ({"refuse": [422, "prompt_too_long"]}, 422, "prompt_too_long"),
        ({"refuse": [429, "queue_full"]}, 429, "queue_full"),
        ({"fail_at": 0}, 500, "generation_failed"),
        ({"broken": "json"}, 502, "invalid_task_answer"),
        ({"broken": "utf8"}, 502, "invalid_task_answer"),
        ({"broken": "surrogate"}, 502, "invalid_task_answer"),
        ({"broken": "type"}, 502, "invalid_task_answer"),
        ({"broken": "nan"}, 500, "non_finite_output"),
        ({"broken": "cut"}, 502, "task_crashed"),
    ],
)
def test_what_the_task_says_or_breaks_has_its_status(shared: Stack, knobs: Any, status: int, code: str) -> None:
    answer = run(shared, knobs)
    assert error_of(answer) == (status, code)
    assert answer.json()["status"] == "failed"
    assert ("Retry-After" in answer.headers) == (status == 429)


def test_a_task_that_is_full_is_not_asked_whether_it_is_ready(shared: Stack) -> None:
    assert run(shared, "x").status_code == 200
    before = shared.tasks["text"].counters()["probed"]
    for _ in range(3):
        assert error_of(run(shared, {"refuse": [503, "overloaded"]})) == (503, "overloaded")
    assert shared.tasks["text"].counters()["probed"] == before


def test_a_full_queue_refuses_at_once(make_stack: MakeStack) -> None:
    component = text(max_concurrent_count=1, max_queue_length=1)
    with make_stack([component], [workflow("text")]) as running, ThreadPoolExecutor() as pool:
        first = pool.submit(run, running, {"tokens": 40, "ms": 50})
        eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
        second = pool.submit(run, running, "second")
        metric = 'queued_requests{component="text"} 1'
        eventually(lambda: metric in http("GET", f"{running.router.address}/metrics").text)
        began = time.monotonic()
        third = run(running, "third")
        assert time.monotonic() - began < 0.5
        assert error_of(third) == (429, "queue_full")
        assert int(third.headers["Retry-After"]) >= 1
        assert (first.result().status_code, second.result().json()["output"]) == (200, "second")
        assert running.tasks["text"].counters()["started"] == 2


def test_the_routers_own_limit_refuses_background_runs_too(make_stack: MakeStack) -> None:
    changes = {"max_concurrent_count": 1, "max_queue_length": 1}
    with make_stack([text()], [workflow("text")], **changes) as running:
        body = {"workflow_id": "text", "input": {"prompt": json.dumps({"hang": True})}, "wait_for_completion": False}
        assert running.post(body).status_code == 202
        eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
        assert [running.post(body).status_code for _ in range(2)] == [202, 503]
        states = [item["status"] for item in running.get("/tasks").json()]
        assert states == ["pending", "processing"]


@pytest.mark.parametrize("queue", [False, True])
def test_a_deadline_ends_a_run_at_work_or_in_the_queue(make_stack: MakeStack, queue: bool) -> None:
    component = text(max_concurrent_count=1)
    with make_stack([component], [workflow("text")], run_timeout_s=0.5) as running, ThreadPoolExecutor() as pool:
        answers = [pool.submit(run, running, {"hang": True}) for _ in range(2 if queue else 1)]
        for answer in answers:
            assert error_of(answer.result()) == (504, "deadline_exceeded")
        eventually(lambda: running.tasks["text"].counters()["computing"] == 0)


def test_a_task_that_ignores_its_cancel_keeps_no_place(make_stack: MakeStack) -> None:
    component = text(max_concurrent_count=1)
    with make_stack([component], [workflow("text")], run_timeout_s=0.5) as running:
        assert error_of(run(running, {"hang": True, "ignore_cancel": True})) == (504, "deadline_exceeded")
        assert run(running, "the next").json()["output"] == "the next"
        assert running.tasks["text"].counters()["computing"] == 1


def test_shutting_down_finishes_accepted_runs_and_refuses_new_ones(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")]) as running, ThreadPoolExecutor() as pool:
        accepted = pool.submit(run, running, {"tokens": 20, "ms": 50})
        eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
        ending = threading.Thread(target=running.router.stop)
        ending.start()
        refused = eventually(lambda: (found := run(running, "late")).status_code != 200 and found)
        assert error_of(refused) == (503, "shutting_down")
        assert http("GET", f"{running.router.address}/readyz").status_code == 503
        assert accepted.result().json()["status"] == "completed"
        ending.join()
        assert running.router.process.returncode == 0
        assert "Traceback" not in running.router.log.read_text()


def test_where_nobody_takes_its_place_a_router_refuses_at_once_and_waits_for_no_idle_connection(
    make_stack: MakeStack,
) -> None:
    with make_stack([text()], [workflow("text")]) as running, ThreadPoolExecutor() as pool:
        accepted = pool.submit(run, running, {"tokens": 40, "ms": 50})
        eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
        with httpx.Client(trust_env=False, timeout=10) as kept:
            probe = f"{running.router.address}/readyz"
            assert kept.get(probe).status_code == 200
            running.router.process.send_signal(signal.SIGTERM)
            eventually(lambda: kept.get(probe).status_code == 503)
            given = {"workflow_id": "text", "input": {"prompt": "late"}}
            assert error_of(kept.post(f"{running.base}/workflows/runs", json=given)) == (503, "shutting_down")
        assert accepted.result().json()["status"] == "completed"
        assert running.router.process.wait(10) == 0


def test_shutting_down_ends_what_takes_too_long(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")], shutdown_timeout_s=0.2) as running, ThreadPoolExecutor() as pool:
        hanging = pool.submit(run, running, {"hang": True})
        eventually(lambda: running.tasks["text"].counters()["computing"] == 1)
        assert running.router.stop() == 0
        assert error_of(hanging.result()) == (409, "cancelled")


def test_a_cluster_may_give_accepted_runs_more_time(folder: Path) -> None:
    with echo_task(folder, "text") as task, ThreadPoolExecutor() as pool:
        component = text(endpoint=task.address)
        settings = RouterSettings(components=(component,), workflows=(workflow("text"),), shutdown_timeout_s=0.2)
        with router(folder, settings, MODEL_COMPOSE_SHUTDOWN_TIMEOUT="20") as service:
            running = Stack(service, {"text": task}, service.address + settings.base_path)
            accepted = pool.submit(run, running, {"tokens": 40, "ms": 50})
            eventually(lambda: task.counters()["computing"] == 1)
            assert service.stop() == 0
            assert accepted.result().json()["status"] == "completed"


def test_a_time_that_cannot_be_read_ends_a_router_with_one_sentence(folder: Path) -> None:
    path = folder / "router.json"
    component = text(endpoint="unix:/nobody")
    path.write_text(RouterSettings(components=(component,), workflows=(workflow("text"),)).model_dump_json())
    command = [sys.executable, "-P", "-m", "services.router.app", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MODEL_COMPOSE_SHUTDOWN_TIMEOUT": "soon"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == os.EX_CONFIG
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert line.startswith('MODEL_COMPOSE_SHUTDOWN_TIMEOUT is "soon", which is no number of seconds')


def test_errors_show_no_paths_and_no_traces(make_stack: MakeStack, folder: Path) -> None:
    with make_stack([text()], [workflow("text")]) as running:
        answers = [run(running, {"broken": kind}) for kind in ("json", "utf8", "nan", "cut", "type")]
        running.tasks["text"].process.kill()
        answers += [run(running, "x"), running.get("/nope"), running.post([])]
        for answer in answers:
            assert answer.status_code >= 400
            assert not any(word in answer.text for word in ("Traceback", str(folder), ".py", ".sock", "aiohttp"))


def test_components_over_http_work_like_those_over_sockets(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    component = chat(endpoint=f"http://127.0.0.1:{port}")
    settings = RouterSettings(components=(component,), workflows=(workflow("chat"),))
    with router(folder, settings) as service:
        running = Stack(service, {}, service.address + "/api")
        answer = running.post({"input": {"user_prompt": "x"}})
        assert error_of(answer) == (503, "not_ready")
