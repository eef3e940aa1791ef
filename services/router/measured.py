"""A task's client whose requests are timed, seen from outside: neither the engine nor the client knows of it."""

import asyncio
import time

from services.router.client import OnDelta, TaskCaller
from services.router.metrics import TaskMetrics
from services.wire import Delta, Done, Readiness, TaskRequest


class MeasuredTask:
    """A TaskCaller around another one."""

    def __init__(self, caller: TaskCaller, metrics: TaskMetrics) -> None:
        self._caller = caller
        self._metrics = metrics

    async def readiness(self) -> Readiness:
        return await self._caller.readiness()

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        began_s = time.perf_counter()
        status = "failed"
        try:
            done = await self._caller.predict(request, on_delta and self._timed(on_delta, began_s))
            status = "completed"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        finally:
            self._metrics.ended(status, time.perf_counter() - began_s)
        return done

    def _timed(self, on_delta: OnDelta, began_s: float) -> OnDelta:
        waiting = True

        async def forward(delta: Delta) -> None:
            nonlocal waiting
            if waiting and delta.text:
                waiting = False
                self._metrics.first_text(time.perf_counter() - began_s)
            await on_delta(delta)

        return forward
