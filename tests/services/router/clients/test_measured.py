"""Requests to tasks are timed by how they end; the first text of a stream is timed once."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import NotReady, OnDelta
from services.router.clients.measured import MeasuredTask
from services.router.watching.metrics import Metrics
from services.wire import Delta, Done, Readiness, TaskRequest
from tests.services.router.watching.test_metrics import counted

pytestmark = pytest.mark.unit

REQUEST = TaskRequest("run/job", {}, 1, stream=True)


class Caller:
    """Sends three deltas, the first one empty, and then fails, hangs or answers."""

    def __init__(self, error: Exception | None = None, *, hang: bool = False) -> None:
        self._error, self._hang = error, hang

    async def readiness(self) -> Readiness:
        return Readiness("loading")

    async def predict(self, _: TaskRequest, on_delta: OnDelta | None) -> Done:
        for text in ("", "a", "b"):
            if on_delta is not None:
                await on_delta(Delta(text))
        if self._hang:
            await asyncio.Event().wait()
        if self._error is not None:
            raise self._error
        return Done("ab")


async def test_a_component_is_wanted_while_it_is_asked() -> None:
    metrics = Metrics([])
    task = MeasuredTask(Caller(hang=True), "chat", metrics.task("chat"))
    asking = asyncio.create_task(task.predict(REQUEST, None))
    await asyncio.sleep(0)
    assert wanted(metrics) == 1
    asking.cancel()
    await asyncio.wait([asking])
    assert wanted(metrics) == 0


async def test_a_component_that_was_not_there_is_wanted_for_a_while() -> None:
    now_s = [0.0]
    metrics = Metrics([])
    task_metrics = metrics.task("chat")
    task_metrics._clock = lambda: now_s[0]
    absent = Caller(NotReady("Not ready.", hint="Again.", retry_after_s=2, lasting=False))
    with pytest.raises(NotReady):
        await MeasuredTask(absent, "chat", task_metrics).predict(REQUEST, None)
    assert wanted(metrics) == 1
    now_s[0] = 59
    assert wanted(metrics) == 1
    now_s[0] = 60
    assert wanted(metrics) == 0


def wanted(metrics: Metrics) -> float:
    return float(counted(metrics).get(("wanted_requests", (("component", "chat"),)), 0))


async def measure(caller: Caller, *, stream: bool = True) -> tuple[dict[str, float], list[str]]:
    """How often what was counted, and the texts that were passed on."""
    metrics = Metrics([])
    task = MeasuredTask(caller, "chat", metrics.task("chat"))
    texts: list[str] = []

    async def keep(delta: Delta) -> None:
        texts.append(delta.text)

    asking = asyncio.create_task(task.predict(REQUEST, keep if stream else None))
    await asyncio.wait([asking], timeout=0 if caller._hang else None)
    if caller._hang:
        await asyncio.sleep(0)
        asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await task.readiness()).stage == "loading"
    counts: dict[str, Any] = {
        dict(labels).get("status", name): value
        for (name, labels), value in counted(metrics).items()
        if name.endswith("_count")
    }
    return counts, texts


FIRST = "time_to_first_token_seconds_count"


@pytest.mark.parametrize(
    ("caller", "status"),
    [
        (Caller(), "completed"),
        (Caller(ServiceError(500, "failed", "No.")), "failed"),
        (Caller(ZeroDivisionError()), "failed"),
        (Caller(hang=True), "cancelled"),
    ],
)
async def test_a_request_is_counted_by_its_end_and_its_first_text_once(caller: Caller, status: str) -> None:
    assert await measure(caller) == ({status: 1, FIRST: 1}, ["", "a", "b"])


async def test_without_a_stream_there_is_no_first_text() -> None:
    assert await measure(Caller(), stream=False) == ({"completed": 1}, [])
