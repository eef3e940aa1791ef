"""A task's client whose requests are timed and traced, from outside: neither the engine nor the client knows of it."""

import asyncio
import time

from services.router.clients.client import NotReady, OnDelta, TaskCaller
from services.router.watching import tracing
from services.router.watching.metrics import TaskMetrics
from services.wire import Delta, Done, Readiness, TaskRequest

_USAGE = {"prompt_tokens": "gen_ai.usage.input_tokens", "completion_tokens": "gen_ai.usage.output_tokens"}
"""OpenTelemetry's names for what a model read and wrote."""


class MeasuredTask:
    """A TaskCaller around another one."""

    def __init__(self, caller: TaskCaller, component: str, metrics: TaskMetrics) -> None:
        self._caller = caller
        self._component = component
        self._metrics = metrics

    async def readiness(self) -> Readiness:
        return await self._caller.readiness()

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        began_s = time.perf_counter()
        status = "failed"
        self._metrics.began()
        try:
            with tracing.span(f"task {self._component}", "client", component=self._component) as span:
                done = await self._caller.predict(request, on_delta and self._timed(on_delta, began_s))
                for key, name in _USAGE.items():
                    if key in done.usage:
                        span.set_attribute(name, done.usage[key])
            status = "completed"
        except NotReady:
            self._metrics.missed()
            raise
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
