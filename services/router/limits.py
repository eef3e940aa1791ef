"""How many requests run at once and how many may wait, first come, first served."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.errors import ServiceError

_FIRST_GUESS_S = 1.0
_LONGEST_WAIT_S = 300
_WEIGHT = 0.2
"""Share of the newest observation in the mean service time."""


class Gate:
    """`async with gate.turn():` waits for its turn.

    max_concurrent: 0 lets everything pass at once. max_queue: how many may wait; the next one is refused with `status`
    and a Retry-After computed from the mean time that requests took lately.
    """

    def __init__(self, what: str, max_concurrent: int, max_queue: int, *, status: int, code: str) -> None:
        self._what = what
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._status = status
        self._code = code
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_s = _FIRST_GUESS_S
        self.active = 0

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises ServiceError at once when too many wait already."""
        await self._enter()
        began = time.monotonic()
        try:
            yield
            self._mean_s += _WEIGHT * (time.monotonic() - began - self._mean_s)
        finally:
            self._release()

    def check(self) -> None:
        """Raises what `turn` would raise now."""
        if self._max_concurrent and self.active >= self._max_concurrent and len(self._waiting) >= self._max_queue:
            raise self._refusal()

    async def _enter(self) -> None:
        self.check()
        if not self._max_concurrent or self.active < self._max_concurrent:
            self.active += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the turn had come in the same moment
            else:
                with suppress(ValueError):  # `_release` drops cancelled turns too
                    self._waiting.remove(turn)
            raise

    def _release(self) -> None:
        """Hand the place to the one who waits longest; `active` stays then, because the place stays taken."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.active -= 1

    def _refusal(self) -> ServiceError:
        waves = (len(self._waiting) + 1) / self._max_concurrent
        retry_after_s = min(max(math.ceil(self._mean_s * waves), 1), _LONGEST_WAIT_S)
        return ServiceError(
            self._status,
            self._code,
            f"{self._what} is busy, and {len(self._waiting)} already wait.",
            hint=f"Try again in {retry_after_s} s.",
            retry_after_s=retry_after_s,
        )
