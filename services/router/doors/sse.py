"""A run as server-sent events: bounded buffering, a sign of life in silence, always a last event."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Send

from services.router.messages import Run, RunStatus
from services.router.values import to_json
from services.writing import LARGE_BYTES, weight, write_in_pieces

MAX_BUFFERED_BYTES = 32 * 1024
"""What waits here for a slow reader before the task behind it is held back. With what waits before and behind, in the
task's link and the client's connection, a stream buffers at most 256 KB."""
COMMENT_EVERY_S = 10


class Channel:
    """Text on its way from one run to one client."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._size_bytes = 0
        self._ended = False
        self._after_return = False
        """Whether the last text ended in what may be the first half of a line's end."""
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, path: str, text: str) -> None:
        """Add a piece of text at a path of the output; waits while too much is buffered."""
        await self.add(_event(to_json({"path": path, "delta": text})) if path else self._event_of_text(text))

    async def add(self, event: str) -> None:
        """Add one event as it is; waits while too much is buffered."""
        while self._size_bytes >= MAX_BUFFERED_BYTES:  # several may have waited for the same room
            await self._room.wait()
        written = event.encode()
        self._events.append(written)
        self._size_bytes += len(written)
        if self._size_bytes >= MAX_BUFFERED_BYTES:
            self._room.clear()
        self._news.set()

    def _event_of_text(self, text: str) -> str:
        if self._after_return:
            text = text.removeprefix("\n")
            if not text:
                self._after_return = False
                return ""
        self._after_return = text.endswith("\r")
        return event_of_text(text)

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True
        self._news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Whether text or the end has come, within this time."""
        if self._news.is_set():
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> bytes:
        """Everything that is buffered, in UTF-8."""
        taken = b"".join(self._events)
        self._events.clear()
        self._size_bytes = 0
        self._room.set()
        if not self._ended:
            self._news.clear()
        return taken

    @property
    def drained(self) -> bool:
        """Whether the end has come and everything is taken."""
        return self._ended and not self._events


def event_of_text(text: str) -> str:
    """Events whose data join to this text; a carriage return ends a line here, so it becomes a line feed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith("{") and text.rstrip().endswith("}"):  # whole, it could be taken for {"path": ..., "delta": ...}
        return _event("{") + _event(text[1:])
    return _event(text)


def last_event(run: Run) -> str:
    """`done` with output, usage and warnings, or `error`."""
    value: Mapping[str, Any] = run.to_json()
    if run.status is not RunStatus.COMPLETED:
        return f"event: error\n{_event(to_json(value))}"
    parts = {key: value[key] for key in ("task_id", "output", "usage", "warnings") if key in value}
    return f"event: done\n{_event(write_in_pieces(parts, to_json))}"


def _event(data: str) -> str:
    return "data: " + data.replace("\n", "\ndata: ") + "\n\n"


async def send_events(send: Send, channel: Channel, run: Run, last: Callable[[Run], str] = last_event) -> None:
    """Send the whole stream; waits for a client that reads slowly, as long as its connection lives.

    last: what ends the stream of a run that has ended.
    """
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Task-Id": run.task_id,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    while not channel.drained:
        events = channel.take() if await channel.wait(COMMENT_EVERY_S) else b": still working\n\n"
        if events:
            await send({"type": "http.response.body", "body": events, "more_body": True})
    event = last(run) if weight(run.output) < LARGE_BYTES else await asyncio.to_thread(last, run)
    await send({"type": "http.response.body", "body": event.encode(), "more_body": False})
