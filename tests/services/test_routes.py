"""The log of a task: one line for each request, with the ids that the router sends, however it ended."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from services.engine.base import Occupancy
from services.engine.tally import Tally
from services.errors import ServiceError
from services.metrics import Metrics
from services.routes import Routes
from services.wire import Delta, Done, Frame, Readiness, TaskRequest

pytestmark = pytest.mark.unit

Messages = list[MutableMapping[str, Any]]
HEADERS = [(b"x-request-id", b"mine-1"), (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
BODY = {"request_id": "01J/job[0]", "fields": {"text": "nobody's business"}, "seed": 1, "stream": True}


class Idle:
    """An engine that does nothing."""

    waiting = running = 0
    occupancy = Occupancy()

    def __init__(self) -> None:
        self.tally = Tally()


class Worker:
    """Answers one text, and then raises what it was given."""

    readiness = Readiness("ready")

    def __init__(self, *, at_once: Exception | None = None, later: Exception | None = None, hang: bool = False) -> None:
        self.metrics = Metrics("idle", Idle())
        self._at_once, self._later, self.hang = at_once, later, hang

    async def predict(self, _: TaskRequest) -> AsyncGenerator[Frame, None]:
        if self._at_once is not None:
            raise self._at_once
        return self._frames()

    async def _frames(self) -> AsyncGenerator[Frame, None]:
        yield Delta("text")
        if self.hang:
            await asyncio.Event().wait()
        if self._later is not None:
            raise self._later
        yield Done("text")


async def ask(worker: Worker, body: bytes) -> Messages:
    """One request; the caller leaves after the first line of a worker that hangs."""
    sent: Messages = []
    begun = asyncio.Event()
    received: Messages = [{"type": "http.request", "body": body}]

    async def receive() -> MutableMapping[str, Any]:
        if received:
            return received.pop()
        await (begun if worker.hang else asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if message.get("body"):
            begun.set()

    async def nothing(*_: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": HEADERS}
    await Routes(nothing, worker)(scope, receive, send)
    return sent


REFUSED = ServiceError(422, "prompt_too_long", "No.")


@pytest.mark.parametrize(
    ("worker", "status"),
    [
        (Worker(), "completed"),
        (Worker(at_once=REFUSED), "prompt_too_long"),
        (Worker(later=REFUSED), "prompt_too_long"),
        (Worker(at_once=ZeroDivisionError()), "internal_error"),
        (Worker(later=ZeroDivisionError()), "internal_error"),
        (Worker(hang=True), "cancelled"),
    ],
)
async def test_a_request_has_one_line(worker: Worker, status: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services")
    await ask(worker, json.dumps(BODY).encode())
    *failures, last = caplog.records
    fields = dict(vars(last)["fields"])
    assert 0 <= fields.pop("duration_s") < 5
    ids = {"call": "01J/job[0]", "request_id": "mine-1", "trace_id": "0af7651916cd43dd8448eb211c80319c"}
    assert (last.message, fields) == ("request ended", {**ids, "status": status})
    assert [vars(record)["fields"] for record in failures] == ([ids] if status == "internal_error" else [])


async def test_an_unreadable_request_has_its_line_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services")
    await ask(Worker(), b"no json")
    assert vars(caplog.records[-1])["fields"]["status"] == "unreadable_request"
