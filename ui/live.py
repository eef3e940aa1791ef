"""The runs that open pages wait for, so that a button or a closed page can end them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from anyio import CancelScope

from ui.client import StreamEvent
from ui.result import Answer

REFRESH_S = 0.05
"""Shortest time between two pictures of an answer; a faster one only keeps the browser busy."""

HEARTBEAT_S = 1
"""Longest time between two pictures, so that a page can tell how long it has waited."""


ABSENCE_S = 5
"""How long a run goes on while its page is not open: the page may have been closed before its run was known here. More
than an open page takes from the click to its listening."""


class StoppedError(Exception):
    """The run was ended by its user."""


class LiveRuns:
    """Runs by the session of their page and a name within it. One at a time: a second one ends the first.

    For the event loop's own thread only, so what Gradio calls must be a coroutine: it runs other functions in threads.
    """

    def __init__(self) -> None:
        self._scopes: dict[tuple[str, str], CancelScope] = {}
        self._listeners: Counter[str] = Counter()

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """The page of this session is open; it may say so more than once at a time."""
        self._listeners[session] += 1
        try:
            yield
        finally:
            self._listeners[session] -= 1
            if not self._listeners[session]:
                del self._listeners[session]

    async def follow(
        self, session: str, name: str, events: AsyncGenerator[StreamEvent, None], answer: Answer
    ) -> AsyncGenerator[None, None]:
        """Feed the stream into `answer` and yield whenever there is something new to show, and at every heartbeat.

        Raises StoppedError when it was stopped, and ApiError. Closing the generator ends the run too.
        """
        self.stop(session, name)
        # A closed page ends its run twice, once for each of its connections. httpx closes the connection to the router,
        # which ends the run there, in steps: a task's second cancellation breaks them off, a scope's does not.
        scope = CancelScope()
        task = asyncio.create_task(_feed(events, answer, scope))
        self._scopes[session, name] = scope
        shown, beaten, heard = 0, time.monotonic(), time.monotonic()
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=REFRESH_S)
                if self._listeners[session]:
                    heard = time.monotonic()
                elif time.monotonic() - heard >= ABSENCE_S:
                    scope.cancel()
                if answer.changed > shown or time.monotonic() - beaten >= HEARTBEAT_S:
                    shown, beaten = answer.changed, time.monotonic()
                    yield
            task.result()
            if scope.cancelled_caught:
                raise StoppedError
        finally:
            if self._scopes.get((session, name)) is scope:
                del self._scopes[session, name]
            scope.cancel()
            await asyncio.wait({task})

    def stop(self, session: str, name: str) -> None:
        """End this run; without effect when there is none."""
        if scope := self._scopes.get((session, name)):
            scope.cancel()

    def leave(self, session: str) -> None:
        """End every run of a page that was closed."""
        for owner, name in list(self._scopes):
            if owner == session:
                self.stop(owner, name)


async def _feed(events: AsyncGenerator[StreamEvent, None], answer: Answer, scope: CancelScope) -> None:
    with scope:
        async with aclosing(events):
            async for event in events:
                answer.take(event)
