"""The runs that open pages wait for, so that a button or a closed page can end them."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ui.client import StreamEvent
from ui.result import Answer

REFRESH_S = 0.05
"""Shortest time between two pictures of an answer; a faster one only keeps the browser busy."""

HEARTBEAT_S = 1
"""Longest time between two pictures, so that a page can tell how long it has waited."""


class StoppedError(Exception):
    """The run was ended by its user."""


class LiveRuns:
    """Runs by the session of their page and a name within it. One at a time: a second one ends the first."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def follow(
        self, session: str, name: str, events: AsyncGenerator[StreamEvent, None], answer: Answer
    ) -> AsyncGenerator[None, None]:
        """Feed the stream into `answer` and yield whenever there is something new to show, and at every heartbeat.

        Raises StoppedError when it was stopped, and ApiError. Closing the generator ends the run too.
        """
        self.stop(session, name)
        task = asyncio.create_task(_feed(events, answer))
        self._tasks[session, name] = task
        shown, beaten = 0, time.monotonic()
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=REFRESH_S)
                if answer.changed > shown or time.monotonic() - beaten >= HEARTBEAT_S:
                    shown, beaten = answer.changed, time.monotonic()
                    yield
            if task.cancelled():
                raise StoppedError
            task.result()
        finally:
            if self._tasks.get((session, name)) is task:
                del self._tasks[session, name]
            task.cancel()
            await asyncio.wait({task})

    def stop(self, session: str, name: str) -> None:
        """End this run; without effect when there is none."""
        if task := self._tasks.get((session, name)):
            task.cancel()

    def leave(self, session: str) -> None:
        """End every run of a page that was closed."""
        for owner, name in list(self._tasks):
            if owner == session:
                self.stop(owner, name)


async def _feed(events: AsyncGenerator[StreamEvent, None], answer: Answer) -> None:
    async with aclosing(events):
        async for event in events:
            answer.take(event)
