"""Server-sent events from a stream of bytes, by the letter of the WHATWG standard and with a bound on memory."""

import codecs
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

MAX_EVENT_CHARS = 32 * 2**20
"""Longest event that is kept; a longer one is not ours."""

_LINE_END = re.compile(r"\r\n|\n|\r")
"""Only these end a line: str.splitlines() also cuts at U+2028 and its like, which models do write."""


class EventTooLongError(ValueError):
    """The stream holds a line or an event longer than the bound."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; several `data` lines are joined by newlines."""

    name: str
    data: str


async def read_events(stream: AsyncIterable[bytes], *, max_chars: int = MAX_EVENT_CHARS) -> AsyncIterator[Event]:
    """Every complete event of the stream; one that the end of the stream cuts off is dropped.

    Raises EventTooLongError, and whatever `stream` raises.
    """
    name, data, size = "", list[str](), 0
    async for line in _read_lines(stream, max_chars):
        if not line:
            if data:
                yield Event(name or "message", "\n".join(data))
            name, data, size = "", [], 0
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            size += len(value) + 1
            if size > max_chars:
                raise EventTooLongError
            data.append(value)


async def _read_lines(stream: AsyncIterable[bytes], max_chars: int) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    line, after_return = "", False
    async for part in stream:
        text = decoder.decode(part)
        if not text:
            continue
        if after_return:  # the part before ended inside a "\r\n"
            text = text.removeprefix("\n")
        after_return = text.endswith("\r")
        head, *following = _LINE_END.split(text)
        line += head
        for next_line in following:
            yield line
            line = next_line
        if len(line) > max_chars:
            raise EventTooLongError
