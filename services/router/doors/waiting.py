"""How a client waits for its run: when it leaves, the run ends; a stream that fails at once has a status of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.router.doors.sse import Channel, send_events
from services.router.execution.hold import WAKE_S
from services.router.messages import Run, RunStatus
from services.router.runs.carrying import LiveRun

_STATUS_KEPT_S = 1.0
"""A streamed run that fails within its first second answers with its own status code instead of an event; so does one
that fails because a service which it waits for does not come."""


def client_of(request: Request, session_id: str | None) -> str:
    """Who asks: with whom a run shares its turns."""
    address = request.client.host if request.client is not None else ""
    return address if session_id is None else f"{address}/{session_id}"


@contextmanager
def cancelled_when_gone(receive: Receive, live: LiveRun) -> Iterator[None]:
    """Inside, a client that closes its connection cancels the run."""
    watcher = asyncio.create_task(_watch(receive, live))
    try:
        yield
    finally:
        watcher.cancel()


async def _watch(receive: Receive, live: LiveRun) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    live.cancel()


async def failed_early(receive: Receive, channel: Channel, live: LiveRun) -> bool:
    """Whether a run whose text goes into the channel failed before it gave any, within the first second or while it
    waited for a service, for which the head is kept back `WAKE_S` at most: so long a proxy bears silence."""
    until_s = time.monotonic() + WAKE_S
    with cancelled_when_gone(receive, live):
        while not await channel.wait(_STATUS_KEPT_S) and live.run.waiting and time.monotonic() < until_s:
            pass
    return channel.drained and live.run.status is not RunStatus.COMPLETED


class RunStream(Response):
    """A run that is under way, as server-sent events. last: what ends the stream of a run that has ended."""

    def __init__(self, channel: Channel, live: LiveRun, last: Callable[[Run], str]) -> None:
        super().__init__()
        self._channel = channel
        self._live = live
        self._last = last

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        with cancelled_when_gone(receive, self._live):
            try:
                await send_events(send, self._channel, self._live.run, self._last)
            finally:
                self._live.cancel()
