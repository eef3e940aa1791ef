"""How a request comes from the event loop to the engine's door: read in a thread of its own, and refused when full."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.engine.base import Engine
from services.errors import ServiceError

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Reading that lets others have their turn whenever it yields."""


class Admission:
    """In front of one engine. What is being read counts as waiting: nothing is read only to be refused.

    Both ways of reading raise ServiceError 503 when the model is not ready or its queue is full.
    """

    def __init__(self, engine: Engine[Any, Any]) -> None:
        self._engine = engine
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # long texts must not hold up the event loop
        self._reading = 0
        """Requests whose texts are being read, or wait for that."""

    async def read(self, prepare: Callable[[], T]) -> T:
        """What `prepare` returns or raises."""
        with self._place():
            return await asyncio.get_running_loop().run_in_executor(self._reader, prepare)

    async def read_in_turns(self, steps: Steps[T]) -> T:
        """What the steps return or raise at last; a short request does not wait for all of a long one."""
        loop = asyncio.get_running_loop()
        with self._place():
            while True:
                ended = await loop.run_in_executor(self._reader, _advance, steps)
                if ended is not None:
                    return ended.value

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        stage = self._engine.readiness.stage
        if stage != "ready":
            raise ServiceError(503, "not_ready", f"The model is not ready: {stage}.", retry_after_s=1)
        self._engine.check_queue(self._reading)
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    value: T


def _advance(steps: Steps[T]) -> _Ended[T] | None:
    try:
        next(steps)
    except StopIteration as end:
        return _Ended(end.value)
    return None
