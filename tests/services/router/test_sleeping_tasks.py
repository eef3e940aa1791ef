"""A task that a cluster has put to sleep: its runs wait, its gauge wakes it, and nothing is a 404 or a 500."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.router.settings import RouterSettings
from tests.services.router.cluster import free_port, gauge, task_pod, throughout, wanted
from tests.services.router.rig import Stack, chat, eventually, http, job, router, text, workflow

pytestmark = pytest.mark.server

_SOON_S = 1.0
"""How long a run may take that waited, from the moment at which its task can answer."""
_KEDA_ASKS_EVERY_S = 5.0


@pytest.fixture
def port() -> int:
    return free_port()


@contextmanager
def asleep(folder: Path, port: int, **changes: Any) -> Iterator[Stack]:
    """A router over the chat component `text`, of which there is nothing at this port."""
    component = chat("text", endpoint=f"http://127.0.0.1:{port}", may_sleep=True, **changes.pop("component", {}))
    settings = {"components": (component,), "workflows": (workflow("text"),), "in_cluster": True, **changes}
    with router(folder, RouterSettings.model_validate(settings)) as service:
        yield Stack(service, {}, service.address + "/api")


def body(prompt: str = "x", **more: Any) -> dict[str, Any]:
    return {"input": {"user_prompt": prompt}, **more}


def refused(answer: httpx.Response) -> bool:
    """Whether it is the answer to a run whose task sleeps, which says when to come again."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready"), answer.text
    return 1 <= int(answer.headers["Retry-After"]) <= 60


def test_a_router_is_ready_while_its_tasks_sleep(folder: Path, port: int) -> None:
    """Else it would not be asked, and would wake nobody."""
    with asleep(folder, port) as running:
        assert http("GET", f"{running.router.address}/readyz").status_code == 200
        assert running.get("/ready").json()["components"] == {"text": {"stage": "absent"}}
        assert running.get("/workflows").status_code == 200
        assert gauge(running.router, "text") == 0


def test_runs_of_every_door_wait_until_their_task_is_there(folder: Path, port: int) -> None:
    streamed = {"headers": {"Accept": "text/event-stream"}}
    openai = {"model": "text", "messages": [{"role": "user", "content": "hello"}]}
    with asleep(folder, port) as running, ThreadPoolExecutor(32) as pool:
        runs = [pool.submit(running.post, body(f"run {number}")) for number in range(20)]
        stream = pool.submit(running.post, body("hello"), **streamed)
        asked = pool.submit(http, "POST", f"{running.router.address}/v1/chat/completions", json=openai)
        wanted(running.router, "text", 22)
        assert not any(run.done() for run in runs)
        with task_pod(folder, "text", port):
            ready = time.monotonic()
            assert [run.result().json()["output"] for run in runs] == [f"run {number}" for number in range(20)]
            assert stream.result().text.startswith("data: hello\n")
            assert asked.result().json()["choices"][0]["message"]["content"] == "hello"
            assert time.monotonic() - ready < _SOON_S
            eventually(lambda: gauge(running.router, "text") <= 1)


def test_what_waited_in_vain_is_told_when_to_come_again_and_wakes_the_task_all_the_same(
    folder: Path, port: int
) -> None:
    with asleep(folder, port, run_timeout_s=1.5) as running, ThreadPoolExecutor() as pool:
        openai = {"model": "text", "messages": [{"role": "user", "content": "x"}]}
        began = time.monotonic()
        held = [
            pool.submit(running.post, body()),
            pool.submit(running.post, body(), headers={"Accept": "text/event-stream"}),
            pool.submit(http, "POST", f"{running.router.address}/v1/chat/completions", json=openai),
        ]
        assert refused(held[0].result())
        assert 1.4 < time.monotonic() - began < 4
        assert refused(held[1].result())
        assert held[2].result().status_code == 503
        assert held[2].result().headers["Retry-After"]
        throughout(lambda: gauge(running.router, "text") >= 1, _KEDA_ASKS_EVERY_S + 1)


def test_outside_of_a_cluster_nobody_waits_for_a_task_that_would_not_come(folder: Path, port: int) -> None:
    with asleep(folder, port, in_cluster=False) as running:
        answer = running.post(body())
        assert refused(answer)
        assert answer.elapsed.total_seconds() < 1


def test_a_router_that_must_end_tells_who_waits_to_come_again(folder: Path, port: int) -> None:
    """Another router may have the time that this one has not."""
    with asleep(folder, port, shutdown_timeout_s=30) as running, ThreadPoolExecutor() as pool:
        held = [pool.submit(running.post, body(), headers={"Accept": kind}) for kind in ("*/*", "text/event-stream")]
        wanted(running.router, "text", 2)
        running.router.process.send_signal(signal.SIGTERM)
        for run in held:
            answer = run.result(5)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down"), answer.text
            assert answer.headers["Retry-After"] == "5"
        assert running.router.process.wait(5) == 0


def test_of_many_runs_only_so_many_wait(folder: Path, port: int) -> None:
    """Their bodies are in memory."""
    limits = {"max_queue_length": 4}
    with asleep(folder, port, component=limits) as running, ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(running.post, body()) for _ in range(8)]
        eventually(lambda: sum(run.done() for run in runs) == 4)
        assert all(refused(run.result()) for run in runs if run.done())
        wanted(running.router, "text", 4)
        with task_pod(folder, "text", port):
            assert sorted(run.result().status_code for run in runs) == [200] * 4 + [503] * 4


def test_who_leaves_while_it_waits_leaves_its_place(folder: Path, port: int) -> None:
    with asleep(folder, port, component={"max_queue_length": 1}) as running:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(trust_env=False, timeout=0.5) as impatient:
            impatient.post(f"{running.base}/workflows/runs", json=body())
        with ThreadPoolExecutor() as pool:
            eventually(lambda: gauge(running.router, "text") <= 1)
            next_one = pool.submit(running.post, body("next"))
            with task_pod(folder, "text", port):
                assert next_one.result().json()["output"] == "next"


def test_asynchronous_runs_wait_in_the_store_and_take_no_place_from_others(folder: Path, port: int) -> None:
    with task_pod(folder, "awake") as awake:
        settings = RouterSettings.model_validate(
            {
                "components": [
                    chat("text", endpoint=f"http://127.0.0.1:{port}", may_sleep=True),
                    chat("awake", endpoint=awake.address),
                ],
                "workflows": [workflow("text"), workflow("awake")],
                "database": {"driver": "sqlite", "path": str(folder / "runs.db")},
                "max_concurrent_count": 2,
                "in_cluster": True,
            }
        )
        with router(folder, settings) as service:
            running = Stack(service, {}, service.address + "/api")

            def accepted(name: str) -> str:
                answer = running.post(body(workflow_id=name, wait_for_completion=False))
                assert answer.status_code == 202
                return str(answer.json()["task_id"])

            def states(*runs: str) -> set[str]:
                return {running.get(f"/tasks/{run}").json()["status"] for run in runs}

            sleeping = [accepted("text") for _ in range(6)]
            wanted(service, "text", 1)
            others = [accepted("awake") for _ in range(3)]
            eventually(lambda: states(*others) == {"completed"}, 10)
            throughout(lambda: states(*sleeping) <= {"pending", "processing"}, 3)
            throughout(lambda: gauge(service, "text") >= 1, 3)
            with task_pod(folder, "text", port):
                eventually(lambda: states(*sleeping) == {"completed"}, 10)


def test_where_packets_are_dropped_runs_wait_all_the_same(folder: Path, port: int) -> None:
    """Some networks refuse nobody: whoever connects to a Service without endpoints waits for an answer."""
    with ExitStack() as deaf, asleep(folder, port) as running, ThreadPoolExecutor() as pool:
        listener = deaf.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
        for _ in range(4):  # its queue is full after one or two, and then the system answers nobody
            caller = deaf.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        run = pool.submit(running.post, body("late"))
        wanted(running.router, "text", 1)
        assert http("GET", f"{running.router.address}/readyz").elapsed.total_seconds() < 0.5
        throughout(lambda: not run.done(), 1.5)  # longer than a look at it takes
        deaf.close()
        with task_pod(folder, "text", port):
            ready = time.monotonic()
            assert run.result().json()["output"] == "late"
            assert time.monotonic() - ready < 2 * _SOON_S


def test_a_pod_that_loads_is_waited_for(folder: Path, port: int) -> None:
    with asleep(folder, port) as running, ThreadPoolExecutor() as pool:
        loaded = folder / "loaded"
        run = pool.submit(running.post, body("loaded"))
        wanted(running.router, "text", 1)
        with task_pod(folder, "text", port, ECHO_READY_WHEN=str(loaded)):
            eventually(lambda: running.get("/ready").json()["components"]["text"]["stage"] == "loading")
            later = pool.submit(running.post, body("loaded"))
            wanted(running.router, "text", 3)  # both of them, and that one was missed
            assert not run.done()
            loaded.touch()
            ready = time.monotonic()
            assert [each.result().json()["output"] for each in (run, later)] == ["loaded"] * 2
            assert time.monotonic() - ready < _SOON_S


def test_a_later_job_waits_for_its_task_and_the_first_one_is_not_repeated(folder: Path, port: int) -> None:
    jobs = (job("first", "awake"), job("second", "text", input={"user_prompt": "${jobs.first.output} again"}))
    with task_pod(folder, "awake") as awake, ExitStack() as stack:
        component = chat("text", endpoint=f"http://127.0.0.1:{port}", may_sleep=True)
        settings = RouterSettings(
            components=(component, text("awake", endpoint=awake.address)),
            workflows=(workflow("chain", *jobs),),
            in_cluster=True,
        )
        service = stack.enter_context(router(folder, settings))
        pool = stack.enter_context(ThreadPoolExecutor())
        given = {"input": {"prompt": "once"}}
        run: Future[httpx.Response] = pool.submit(http, "POST", f"{service.address}/api/workflows/runs", json=given)
        wanted(service, "text", 1)
        with task_pod(folder, "text", port):
            assert run.result().json()["output"] == "once again"
        assert http("GET", f"{awake.address}/counters").json()["started"] == 1
