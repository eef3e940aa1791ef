"""One run's calls of one component: a run is never refused because of how much it asks at once itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.router.graph import Component
from services.router.limits import Gate


class Share:
    """`async with share.place() as follows:` waits until the run may make one more call, and inside,
    `async with share.turn(follows):` for that call's turn among all runs, each time that it is made.

    So many calls of the run as its component takes have a place at once, or half a queue where the engine decides.
    The gate can refuse a call only while it is the run's only one there, and has not been let in before.
    client: whose run it is. patient: see `Gate.turn`.
    """

    def __init__(self, component: Component, gate: Gate, client: str, patient: bool) -> None:
        half_a_queue = max(component.max_queue_length // 2, 1)
        self._places = asyncio.Semaphore(component.max_concurrent_count or half_a_queue)
        self._gate = gate
        self._client = client
        self._patient = patient
        self._calls = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """Whether other calls of the run were there before."""
        follows = self._calls > 0
        self._calls += 1
        try:
            async with self._places:
                yield follows
        finally:
            self._calls -= 1

    def turn(self, follows: bool) -> AbstractAsyncContextManager[None]:
        """Entering it raises ServiceError when too many wait already. follows: see `Gate.turn`."""
        return self._gate.turn(self._client, self._patient, follows)
