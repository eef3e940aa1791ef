"""Accepted means kept: asynchronous runs over kills, restarts, drains and full queues, with real processes."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.router.settings import RouterSettings
from tests.services.router.rig import (
    REPOSITORY,
    Service,
    Stack,
    echo_task,
    eventually,
    http,
    job,
    router,
    text,
    workflow,
)

pytestmark = pytest.mark.server

CHAIN = workflow(
    "chain",
    job("a", "text"),
    job("b", "text", depends_on=[["a"]]),
    job("c", "text", depends_on=[["b"]]),
    output={name: f"${{jobs.{name}.output}}" for name in "abc"},
)
Start = Callable[..., AbstractContextManager[Stack]]


@pytest.fixture
def task(folder: Path) -> Iterator[Service]:
    with echo_task(folder, "text") as running:
        yield running


@pytest.fixture
def start(folder: Path, task: Service) -> Start:
    """Starts a router over the same task and database as the one before."""

    @contextmanager
    def starts(**changes: Any) -> Iterator[Stack]:
        with router(folder, settings_for(folder, task.address, **changes)) as service:
            yield Stack(service, {"text": task}, service.address + "/api")

    return starts


def settings_for(folder: Path, endpoint: str, **changes: Any) -> RouterSettings:
    given = {
        "components": [text(endpoint=endpoint)],
        "workflows": [workflow("text", default=True), CHAIN],
        "database": {"driver": "sqlite", "path": str(folder / "runs.db")},
    }
    return RouterSettings.model_validate({**given, **changes})


def submit(
    running: Stack, knobs: Any = "x", workflow_id: str = "text", key: str | None = None, **more: Any
) -> httpx.Response:
    prompt = knobs if isinstance(knobs, str) else json.dumps(knobs)
    body = {"workflow_id": workflow_id, "input": {"prompt": prompt}, "wait_for_completion": False, **more}
    return running.post(body, headers={} if key is None else {"Idempotency-Key": key})


def accepted(running: Stack, knobs: Any = "x", workflow_id: str = "text", **more: Any) -> str:
    answer = submit(running, knobs, workflow_id, **more)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def state(running: Stack, task_id: str) -> str:
    return str(running.get(f"/tasks/{task_id}").json()["status"])


def ended(running: Stack, task_id: str, timeout_s: float = 20) -> dict[str, Any]:
    """The run's last state."""
    eventually(lambda: state(running, task_id) in ("completed", "failed", "cancelled"), timeout_s)
    return dict(running.get(f"/tasks/{task_id}").json())


def noted(folder: Path) -> int:
    """How many finished jobs are kept."""
    with closing(sqlite3.connect(folder / "runs.db")) as connection:
        return int(connection.execute("select count(*) from finished_jobs").fetchone()[0])


def kill(running: Stack) -> None:
    running.router.process.kill()
    running.router.process.wait()


def test_runs_go_on_after_a_kill_and_finished_jobs_are_not_repeated(start: Start, task: Service, folder: Path) -> None:
    with start() as running:
        task_id = accepted(running, {"tokens": 3, "ms": 100}, "chain", session_id="s", metadata={"k": 1})
        eventually(lambda: task.requests().get(f"{task_id}/b"))
        eventually(lambda: noted(folder) == 1)
        kill(running)
    eventually(lambda: task.counters()["computing"] == 0)
    with start() as running:
        run = ended(running, task_id)
        assert run == {
            "task_id": task_id,
            "status": "completed",
            "workflow_id": "chain",
            "output": dict.fromkeys("abc", "w0 w1 w2"),
            "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
            "session_id": "s",
            "metadata": {"k": 1},
        }
        counters = http("GET", f"{running.router.address}/metrics").text
        assert "model_compose_durable_recovered_runs_total 1.0" in counters
    assert task.requests() == {f"{task_id}/a": 1, f"{task_id}/b": 2, f"{task_id}/c": 1}


def test_a_result_is_still_there_after_a_kill(start: Start) -> None:
    with start() as running:
        task_id = accepted(running, "kept")
        run = ended(running, task_id)
        kill(running)
    with start() as running:
        assert running.get(f"/tasks/{task_id}").json() == run
        assert running.get(f"/tasks/{task_id}?output_only=true").json() == "kept"
        assert [item["task_id"] for item in running.get("/tasks").json()] == [task_id]


def test_a_run_that_takes_its_router_with_it_is_given_up(start: Start, task: Service) -> None:
    with start() as running:
        task_id = accepted(running, {"hang": True})
        eventually(lambda: task.counters()["started"] == 1)
        kill(running)
    for attempt in (2, 3):
        with start() as running:
            eventually(lambda: task.counters()["started"] == attempt)  # noqa: B023  # it is waited for at once
            kill(running)
    with start() as running:
        assert ended(running, task_id)["error"]["code"] == "gave_up_after_crash"
        assert running.get(f"/tasks/{task_id}?output_only=true").status_code == 500


def test_a_run_of_a_workflow_that_is_not_the_same_any_more_fails(start: Start) -> None:
    with start() as running:
        task_ids = [accepted(running, {"hang": True}), accepted(running, {"hang": True}, "chain")]
        kill(running)
    with start(workflows=[workflow("text", output="other ${output}")]) as running:
        assert [ended(running, task_id)["error"]["code"] for task_id in task_ids] == ["workflow_changed"] * 2


def test_a_key_leads_to_the_same_run_over_races_and_a_restart(start: Start, task: Service) -> None:
    with start() as running, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: submit(running, "once", key="k"), range(16)))
        assert {answer.status_code for answer in answers} == {202}
        (task_id,) = {answer.json()["task_id"] for answer in answers}
        ended(running, task_id)
        kill(running)
    with start() as running:
        again = submit(running, "once", key="k")
        assert (again.status_code, again.json()["task_id"], again.json()["output"]) == (202, task_id, "once")
        other = submit(running, "twice", key="k")
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
        assert submit(running, "twice", key="l").json()["task_id"] != task_id
    assert task.requests()[f"{task_id}/__job__"] == 1


def test_a_key_that_cannot_be_one_is_refused(start: Start) -> None:
    with start() as running:
        body = {"input": {"prompt": "x"}, "wait_for_completion": False}
        for key in ("", "a b", "é", "x" * 256):
            answer = running.post(body, headers={"Idempotency-Key": key.encode()})
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_idempotency_key")


def test_a_key_on_a_run_that_is_waited_for_is_refused_rather_than_ignored(start: Start) -> None:
    with start() as running:
        answer = running.post({"input": {"prompt": "x"}}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_sync")


def test_of_too_many_runs_the_next_is_refused_in_time_and_another_client_still_finds_a_place(start: Start) -> None:
    with start(max_concurrent_count=1, max_queue_length=8) as running:
        for _ in range(9):
            accepted(running, {"hang": True})
        refused = submit(running, "x")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.elapsed.total_seconds() < 0.2
        assert submit(running, "x", session_id="another").status_code == 202


def test_a_flood_of_one_client_does_not_starve_another(start: Start, task: Service) -> None:
    with start(max_concurrent_count=1) as running:
        flood = [accepted(running, {"tokens": 1, "ms": 100}, session_id="flood") for _ in range(20)]
        other = accepted(running, "x", session_id="other")
        ended(running, other)
        assert sum(state(running, task_id) == "completed" for task_id in flood) < 10
        assert state(running, flood[-1]) == "pending"


def test_deadlines_count_from_the_acceptance_and_what_is_too_late_is_not_started(start: Start, task: Service) -> None:
    with start(max_concurrent_count=1, run_timeout_s=1) as running:
        at_work, waiting = accepted(running, {"hang": True}), accepted(running, "x")
        assert state(running, waiting) == "pending"
        kill(running)
    over = time.monotonic() + 1
    before = task.requests()
    eventually(lambda: time.monotonic() > over)
    with start(max_concurrent_count=1, run_timeout_s=1) as running:
        for task_id in (at_work, waiting):
            assert ended(running, task_id)["error"]["code"] == "deadline_exceeded"
            assert running.get(f"/tasks/{task_id}?output_only=true").status_code == 504
    assert task.requests() == before


def test_a_run_that_waits_can_be_cancelled(start: Start, task: Service) -> None:
    with start(max_concurrent_count=1) as running:
        accepted(running, {"hang": True})
        waiting = accepted(running, "x")
        answer = http("POST", f"{running.base}/tasks/{waiting}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert http("POST", f"{running.base}/tasks/{waiting}/cancel").status_code == 409
        assert running.get(f"/tasks/{waiting}?output_only=true").status_code == 409
        kill(running)
    with start(max_concurrent_count=1) as running:
        assert state(running, waiting) == "cancelled"
    assert f"{waiting}/__job__" not in task.requests()


def test_a_full_component_makes_kept_runs_wait_instead_of_failing(start: Start) -> None:
    with start() as running:
        endpoint = running.tasks["text"].address
        kill(running)
    with start(components=[text(endpoint=endpoint, max_concurrent_count=1, max_queue_length=1)]) as running:
        task_ids = [accepted(running, {"tokens": 1, "ms": 20}) for _ in range(10)]
        assert {ended(running, task_id)["status"] for task_id in task_ids} == {"completed"}


def test_kept_runs_wait_for_a_model_that_loads(folder: Path) -> None:
    loaded = folder / "loaded"
    with (
        echo_task(folder, "text", ECHO_READY_WHEN=str(loaded)) as task,
        router(folder, settings_for(folder, task.address)) as service,
    ):
        running = Stack(service, {}, service.address + "/api")
        task_id = accepted(running, "x")
        assert state(running, task_id) in ("pending", "processing")
        loaded.touch()
        assert ended(running, task_id)["status"] == "completed"


def test_kept_runs_fail_with_the_reason_when_a_model_has_failed(folder: Path) -> None:
    with (
        echo_task(folder, "text", ECHO_FAILED="no such model") as task,
        router(folder, settings_for(folder, task.address)) as service,
    ):
        running = Stack(service, {}, service.address + "/api")
        run = ended(running, accepted(running, "x"))
        assert run["error"]["code"] == "not_ready"
        assert "no such model" in run["error"]["message"]


def test_a_router_that_is_told_to_end_gives_back_what_has_not_ended(start: Start, task: Service) -> None:
    with start(max_concurrent_count=1, shutdown_timeout_s=0.3) as running:
        hanging = accepted(running, {"tokens": 20, "ms": 100})
        waiting = accepted(running, "x")
        assert running.router.stop() == 0
        assert "Traceback" not in running.router.log.read_text()
    with start() as running:
        assert {state(running, task_id) for task_id in (hanging, waiting)} <= {"pending", "processing", "completed"}
        assert ended(running, hanging)["status"] == ended(running, waiting)["status"] == "completed"


def test_runs_are_listed_newest_first_page_by_page(start: Start) -> None:
    with start() as running:
        task_ids = []
        for index in range(6):
            body = {"input": {"prompt": "x"}, "wait_for_completion": index % 2 == 0}
            task_ids.append(running.post(body).json()["task_id"])
        newest = task_ids[::-1]
        first = [item["task_id"] for item in running.get("/tasks?limit=4").json()]
        assert first == newest[:4]
        assert [item["task_id"] for item in running.get(f"/tasks?limit=4&before={first[-1]}").json()] == newest[4:]
        for query in ("limit=0", "limit=-1", "limit=x", "limit=1001", "before=", "before=x", "before=%00"):
            assert running.get(f"/tasks?{query}").status_code == 422


def test_the_files_of_the_database_are_nobody_elses(start: Start, folder: Path) -> None:
    with start() as running:
        ended(running, accepted(running))
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.glob("runs.db*")}
    assert modes == dict.fromkeys(["runs.db", "runs.db-shm", "runs.db-wal", "runs.db.lock"], "0o600")


def refusal(folder: Path) -> str:
    """What a router says that does not start."""
    command = [sys.executable, "-P", "-m", "services.router.app", str(folder / "router.json")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode in (os.EX_OSERR, os.EX_UNAVAILABLE)
    return done.stderr.replace(str(folder), "")


def test_a_second_router_on_the_same_file_is_refused(start: Start, folder: Path) -> None:
    with start():
        assert refusal(folder) == (
            "the database of runs /runs.db is in use by another router; stop that one, or give `controller.database` "
            "another place; several routers can share PostgreSQL\n"
        )


def test_a_damaged_database_is_one_sentence(start: Start, folder: Path) -> None:
    with start():
        pass
    for path in folder.glob("runs.db-*"):
        path.unlink()  # the log would mend the file
    (folder / "runs.db").write_bytes(b"not a database" * 1000)
    assert refusal(folder) == (
        "the database of runs /runs.db is damaged, or is no SQLite database; move the file away; a new one is made, "
        "without the runs of the old one\n"
    )
