"""How a request comes from the event loop to the engine's door: read in a thread of its own, and refused when full."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from services.engine.base import Engine
from services.errors import ServiceError

T = TypeVar("T")


class Admission:
    """In front of one engine. What is being read counts as waiting: nothing is read only to be refused."""

    def __init__(self, engine: Engine[Any, Any]) -> None:
        self._engine = engine
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # long texts must not hold up the event loop
        self._reading = 0
        """Requests whose texts are being read, or wait for that."""

    async def read(self, prepare: Callable[[], T]) -> T:
        """What `prepare` returns or raises; ServiceError 503 when the model is not ready or its queue is full."""
        stage = self._engine.readiness.stage
        if stage != "ready":
            raise ServiceError(503, "not_ready", f"The model is not ready: {stage}.", retry_after_s=1)
        self._engine.check_queue(self._reading)
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, prepare)
        finally:
            self._reading -= 1
