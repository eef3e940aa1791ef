"""Several routers on one PostgreSQL database: each run has one of them at a time, and none is lost with its router."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.router.settings import RouterSettings
from services.router.store.run_store import LEASE_S
from tests.postgres import postgres_server
from tests.services.router.rig import Service, Stack, echo_task, eventually, http, job, router, text, workflow

pytestmark = pytest.mark.server

Start = Callable[..., AbstractContextManager[Stack]]
_MARGIN_S = 5


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def task(folder: Path) -> Iterator[Service]:
    with echo_task(folder, "text") as running:
        yield running


@pytest.fixture
def start(folder: Path, task: Service, server: str) -> Start:
    """Starts one more router over the same task and an empty database."""
    with psycopg.connect(server) as connection:
        connection.execute("drop schema if exists model_compose cascade")

    @contextmanager
    def starts(name: str, **changes: Any) -> Iterator[Stack]:
        own = folder / name
        own.mkdir()
        given = {
            "components": (text(endpoint=task.address),),
            "workflows": (workflow("text"),),
            "database": {"driver": "postgres", "url": server},
        }
        settings = RouterSettings.model_validate({**given, **changes})
        with router(own, settings) as service:
            yield Stack(service, {"text": task}, service.address + "/api")

    return starts


def accepted(running: Stack, prompt: str = "x", **headers: str) -> str:
    body = {"input": {"prompt": prompt}, "wait_for_completion": False}
    answer = running.post(body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def state(running: Stack, task_id: str) -> str:
    return str(running.get(f"/tasks/{task_id}").json()["status"])


def slow(ms: int) -> str:
    return json.dumps({"tokens": 1, "ms": ms})


def test_the_runs_of_a_router_that_was_killed_are_finished_by_the_other(start: Start, task: Service) -> None:
    with start("one") as one, start("two") as two:
        held = accepted(one, slow(700))
        waited_for = [accepted(one, slow(2000)) for _ in range(10)]
        elsewhere = accepted(two, slow(2000))
        eventually(lambda: task.counters()["started"] == 12)
        assert state(two, held) in ("processing", "completed")
        eventually(lambda: state(two, held) == "completed")
        one.router.process.kill()
        eventually(lambda: all(state(two, run) == "completed" for run in waited_for), LEASE_S + _MARGIN_S)
        assert state(two, elsewhere) == "completed"
    times = task.requests()
    assert times[f"{elsewhere}/__job__"] == times[f"{held}/__job__"] == 1
    assert {times[f"{run}/__job__"] for run in waited_for} == {2}


def test_a_run_can_be_cancelled_and_read_at_any_router(start: Start, task: Service) -> None:
    with start("one") as one, start("two") as two:
        run = accepted(one, json.dumps({"hang": True}))
        eventually(lambda: task.counters()["computing"] == 1)
        answer = http("POST", f"{two.base}/tasks/{run}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")
        eventually(lambda: state(two, run) == "cancelled", 3)
        assert task.counters()["computing"] == 0
        assert state(one, run) == "cancelled"
        assert [item["task_id"] for item in two.get("/tasks").json()] == [run]
        assert one.get("/tasks/%00").status_code == 404
        assert http("POST", f"{one.base}/tasks/{run}/cancel").status_code == 409


def test_routers_share_what_waits(start: Start, task: Service) -> None:
    with start("one", max_concurrent_count=1) as one, start("two", max_concurrent_count=1) as two:
        runs = [accepted(one, slow(300)) for _ in range(12)]
        eventually(lambda: task.counters()["computing"] == 2)
        eventually(lambda: all(state(two, run) == "completed" for run in runs), 20)
    assert set(task.requests().values()) == {1}


def test_a_router_of_another_file_leaves_runs_alone_until_nobody_has_their_workflow(start: Start) -> None:
    changed = workflow("text", job("j", "text", input={"prompt": "changed"}))
    with start("one", max_concurrent_count=1, shutdown_timeout_s=0) as one, start("two", workflows=(changed,)) as two:
        runs = [accepted(one, slow(300)) for _ in range(8)]
        eventually(lambda: all(state(two, run) == "completed" for run in runs), 10)
        held, waiting = accepted(one, json.dumps({"hang": True})), accepted(one)
        assert one.router.stop() == 0
        for run in (held, waiting):
            eventually(lambda run=run: state(two, run) == "failed", LEASE_S / 2)
            assert two.get(f"/tasks/{run}").json()["error"]["code"] == "workflow_changed"


def test_a_key_is_the_same_at_every_router(start: Start) -> None:
    with start("one") as one, start("two") as two:
        key = {"Idempotency-Key": "k"}
        assert accepted(one, **key) == accepted(two, **key)


def test_a_router_that_is_told_to_end_gives_its_runs_to_the_others_at_once(start: Start, task: Service) -> None:
    with start("one", shutdown_timeout_s=0) as one, start("two") as two:
        run = accepted(one, slow(1500))
        eventually(lambda: task.counters()["computing"] == 1)
        assert one.router.stop() == 0
        eventually(lambda: state(two, run) == "completed", LEASE_S / 2)


def test_routers_that_start_at_once_make_one_schema(start: Start) -> None:
    with start("one") as one, start("two") as two, start("three") as three:
        run = accepted(one)
        eventually(lambda: state(three, run) == "completed")
        assert state(two, run) == "completed"
