"""Pods that must go, and pods that are gone: no run is lost with them, and no client sees a connection break."""

import asyncio
import json
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from services.router.settings import RouterSettings
from tests.services.conftest import Tiny
from tests.services.router.cluster import ClusterService, computing, model_pod, task_pod
from tests.services.router.rig import Service, async_http, eventually, http, router, text, workflow

pytestmark = pytest.mark.server

_NOTICED_S = 1.5
"""How long a cluster still leads to a pod that has ended without a word."""
_CLIENTS = 8
_SHORT = json.dumps({"tokens": 1, "ms": 40})


class Load:
    """Clients with kept connections, each of which starts a run when its last one has ended.

    base: of the API. prompt: what each run asks for.
    """

    def __init__(self, base: str, prompt: str = _SHORT) -> None:
        self.answers: Counter[str] = Counter()
        """By what became of them: `completed`, or a status and its error, or the name of an exception."""
        self.closed = 0
        """Answers that asked to close the connection."""
        self._base = base
        self._prompt = prompt
        self._ending = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Load":
        self._thread.start()
        try:
            self.go_on(_CLIENTS)
        except AssertionError:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._ending = True
        self._thread.join()

    def go_on(self, runs: int = 60) -> None:
        """Wait until so many more have ended."""
        enough = self.answers.total() + runs
        eventually(lambda: self.answers.total() >= enough, 20)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(_CLIENTS)))

    async def _client(self) -> None:
        async with async_http() as client:
            while not self._ending:
                try:
                    answer = await client.post(f"{self._base}/workflows/runs", json={"input": {"prompt": self._prompt}})
                except httpx.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                    continue
                self.closed += answer.headers.get("connection") == "close"
                self.answers[_outcome(answer)] += 1


def _outcome(answer: httpx.Response) -> str:
    if answer.status_code == 200 and answer.json()["status"] == "completed":
        return "completed"
    return f"{answer.status_code} {answer.text}"


@contextmanager
def routed(folder: Path, name: str, tasks: ClusterService, **changes: Any) -> Iterator[Service]:
    own = folder / name
    own.mkdir()
    components, workflows = (text(endpoint=tasks.address),), (workflow("text"),)
    settings = {"components": components, "workflows": workflows, "in_cluster": True, **changes}
    with router(own, RouterSettings.model_validate(settings)) as service:
        yield service


@pytest.fixture
def tasks(folder: Path) -> Iterator[tuple[ClusterService, Service, Service]]:
    """A Service with two pods."""
    with ClusterService() as service, task_pod(folder, "one") as one, task_pod(folder, "two") as two:
        service.add(one, two)
        yield service, one, two


Tasks = tuple[ClusterService, Service, Service]


def test_a_task_that_is_told_to_end_loses_no_run(folder: Path, tasks: Tasks) -> None:
    """Even where nobody was told before, and connections still lead to it."""
    service, one, _ = tasks
    with routed(folder, "router", service) as running, Load(f"{running.address}/api") as load:
        eventually(lambda: computing(one) > 0)
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(10)
        load.go_on()
        service.remove(one)
        load.go_on()
    assert list(load.answers) == ["completed"]


def test_a_real_task_ends_the_same_way(folder: Path, tiny: Tiny) -> None:
    model = tiny("gpt2")
    with model_pod(folder, "one", model) as one, model_pod(folder, "two", model) as two, ExitStack() as stack:
        service = stack.enter_context(ClusterService())
        service.add(one, two)
        short = {"fields": {"text": "${input.prompt}", "max_output_length": 4}}
        components = (text(endpoint=service.address, action=short),)
        running = stack.enter_context(routed(folder, "router", service, components=components))
        load = stack.enter_context(Load(f"{running.address}/api", "Once upon a time"))
        service.remove(one)
        load.go_on(20)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
        load.go_on(20)
        assert "Traceback" not in one.log.read_text()
    assert list(load.answers) == ["completed"]


def test_a_task_that_is_killed_loses_no_run(folder: Path, tasks: Tasks) -> None:
    service, one, two = tasks
    with task_pod(folder, "three") as three, ExitStack() as stack:
        running = stack.enter_context(routed(folder, "router", service))
        load = stack.enter_context(Load(f"{running.address}/api"))
        eventually(lambda: computing(one) > 1)
        one.process.kill()
        noticed = threading.Timer(_NOTICED_S, service.remove, [one])
        noticed.start()
        load.go_on()
        noticed.join()
        load.go_on()
        service.add(three)
        eventually(lambda: computing(three) > 0, 20)  # connections to a name are made anew
        two.process.kill()
        service.remove(two)
        load.go_on()
    assert list(load.answers) == ["completed"]


def test_a_run_that_ends_every_pod_that_takes_it_fails_after_the_second(folder: Path, tasks: Tasks) -> None:
    """Else one request would end them all."""
    service, one, two = tasks
    with task_pod(folder, "three") as three, routed(folder, "router", service) as running:
        service.add(three)
        fatal = {"input": {"prompt": json.dumps({"tokens": 2, "crash_at": 1})}}
        answer = http("POST", f"{running.address}/api/workflows/runs", json=fatal)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "task_crashed")
        pods = (one, two, three)
        eventually(lambda: sum(pod.process.poll() is None for pod in pods) == 1)
        assert len([pod for pod in pods if pod.process.poll() is None]) == 1


def test_outside_of_a_cluster_a_run_over_which_its_task_ends_fails_at_once(folder: Path, tasks: Tasks) -> None:
    service, one, two = tasks
    with routed(folder, "router", service, in_cluster=False) as running:
        fatal = {"input": {"prompt": json.dumps({"tokens": 2, "crash_at": 1})}}
        answer = http("POST", f"{running.address}/api/workflows/runs", json=fatal)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "task_crashed")
        assert answer.elapsed.total_seconds() < 1
        eventually(lambda: one.process.poll() is not None or two.process.poll() is not None)
        assert one.process.poll() is None or two.process.poll() is None


def test_text_that_was_sent_is_not_sent_again(folder: Path, tasks: Tasks) -> None:
    service, one, two = tasks
    with routed(folder, "router", service) as running:
        fatal = {"input": {"prompt": json.dumps({"tokens": 3, "crash_at": 2})}}
        stream = {"Accept": "text/event-stream"}
        answer = http("POST", f"{running.address}/api/workflows/runs", json=fatal, headers=stream)
        assert answer.text.startswith("data: w0\n\ndata:  w1\n\nevent: error\n")
        eventually(lambda: one.process.poll() is not None or two.process.poll() is not None)
        assert one.process.poll() is None or two.process.poll() is None


def test_a_router_that_is_told_to_end_loses_no_run_and_breaks_no_connection(folder: Path, tasks: Tasks) -> None:
    """Kept connections lead to it to its end: a cluster changes the way of new ones only."""
    service, *_ = tasks
    with ExitStack() as stack, ClusterService() as routers:
        first, second = (stack.enter_context(routed(folder, name, service)) for name in ("one", "two"))
        routers.add(first, second)
        with Load(f"{routers.address}/api") as load:
            routers.remove(first)
            load.go_on()
            assert load.closed == 0
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(10) == 0
            load.go_on()
        assert list(load.answers) == ["completed"]
        assert load.closed >= _CLIENTS // 2
        for log in folder.glob("*/router.log"):
            assert "Traceback" not in log.read_text()


def test_a_router_that_must_end_is_not_ready_at_once_and_finishes_what_it_took(folder: Path, tasks: Tasks) -> None:
    service, one, two = tasks
    with routed(folder, "router", service) as running, httpx.Client(trust_env=False, timeout=10) as client:
        api = f"{running.address}/api/workflows/runs"
        assert client.post(api, json={"input": {"prompt": "keeps the connection"}}).status_code == 200
        place = urlsplit(running.address)
        unused = socket.create_connection((place.hostname, place.port), timeout=10)
        long = {"input": {"prompt": json.dumps({"tokens": 1, "ms": 8000})}}
        taken: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: taken.append(http("POST", api, json=long)))
        waiting.start()
        eventually(lambda: computing(one) + computing(two) == 1)
        running.process.send_signal(signal.SIGTERM)
        short = {"input": {"prompt": "the last call"}}
        last = eventually(lambda: (found := client.post(api, json=short)).headers.get("connection") and found)
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        readiness = http("GET", f"{running.address}/readyz")
        assert (readiness.status_code, readiness.headers["connection"]) == (503, "close")
        late = eventually(lambda: (found := http("POST", api, json=short)).status_code == 503 and found)
        assert (late.json()["error"]["code"], late.headers["connection"]) == ("shutting_down", "close")
        assert late.headers["Retry-After"] == "5"
        with unused:  # since before the end, and its first request may have been on its way all the time
            unused.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert unused.recv(100).startswith(b"HTTP/1.1 503 ")
        waiting.join(20)
        assert taken[0].json()["status"] == "completed"
        assert running.process.wait(10) == 0
