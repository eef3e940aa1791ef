"""A client that leaves ends its run, over real sockets, whatever it waited for."""

import json
import socket
import time
from typing import Any

import pytest

from tests.services.router.rig import Stack, begin_run, eventually

pytestmark = pytest.mark.server

HANG = json.dumps({"hang": True})
SLOW = json.dumps({"tokens": 10_000, "ms": 10})


def connect(shared: Stack, prompt: str, *headers: str, **more: Any) -> socket.socket:
    """Send a run over a plain socket."""
    body = json.dumps({"workflow_id": "text", "input": {"prompt": prompt}, **more})
    return begin_run(shared, f"Content-Length: {len(body)}", *headers, body=body)


def computing(shared: Stack) -> int:
    return shared.tasks["text"].counters()["computing"]


@pytest.mark.parametrize("accept", ["Accept: application/json", "Accept: text/event-stream"])
@pytest.mark.parametrize("prompt", [HANG, SLOW])
def test_leaving_before_the_first_byte_ends_the_run(shared: Stack, accept: str, prompt: str) -> None:
    with connect(shared, prompt, accept):
        eventually(lambda: computing(shared) == 1)
    left = time.monotonic()
    eventually(lambda: computing(shared) == 0)
    assert time.monotonic() - left < 2.5


def test_leaving_after_the_first_byte_ends_the_run(shared: Stack) -> None:
    with connect(shared, SLOW, "Accept: text/event-stream") as connection:
        assert b"200" in connection.recv(4096)
        assert computing(shared) == 1
    eventually(lambda: computing(shared) == 0, 2.5)


def test_a_run_that_was_left_is_cancelled_in_the_list(shared: Stack) -> None:
    with connect(shared, HANG, "X-Request-Id: left"):
        eventually(lambda: computing(shared) == 1)
    eventually(lambda: shared.get("/tasks").json()[0]["status"] == "cancelled")
    assert shared.get("/tasks").json()[0]["error"]["request_id"] == "left"


def test_a_background_run_goes_on_without_its_client(shared: Stack) -> None:
    slow = json.dumps({"tokens": 20, "ms": 10})
    with connect(shared, slow, wait_for_completion=False) as connection:
        assert b"202" in connection.recv(4096)
    eventually(lambda: shared.get("/tasks").json()[0]["status"] == "completed")


def test_many_cancels_leave_nothing_behind(shared: Stack) -> None:
    before = shared.tasks["text"].counters()["cancelled"]
    for accept in ("Accept: application/json", "Accept: text/event-stream") * 25:
        connect(shared, HANG, accept).close()
    eventually(lambda: computing(shared) == 0)
    after = shared.tasks["text"].counters()
    assert after["cancelled"] - before <= 50
    assert shared.post({"workflow_id": "text", "input": {"prompt": "still here"}}).json()["output"] == "still here"
