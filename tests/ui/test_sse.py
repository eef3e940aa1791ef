"""Server-sent events: the standard's line ends and fields, whatever the cuts between network reads."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.sse import Event, EventTooLongError, read_events

pytestmark = pytest.mark.unit

STREAM = (
    "\ufeff: hello\r\n\r\n"
    "data: first\ndata:  second\u2028still second\ndata\n\n"
    "event: done\rdata: {}\r\r"
    "id: 3\nretry: 10\n\n"
    "event: lost\n\n"
    "data: schön\r\n\r\n"
    "data: cut off"
).encode()
EVENTS = [Event("message", "first\n second\u2028still second\n"), Event("done", "{}"), Event("message", "schön")]


async def parts(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def test_reads_every_kind_of_line() -> None:
    assert [event async for event in read_events(parts(STREAM))] == EVENTS


@given(cuts=st.lists(st.integers(0, len(STREAM))))
async def test_cuts_between_reads_change_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [event async for event in read_events(parts(*pieces))] == EVENTS


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 100, b"data: 0123456789\n" * 5])
async def test_an_endless_event_is_given_up(stream: bytes) -> None:
    with pytest.raises(EventTooLongError):
        _ = [event async for event in read_events(parts(stream), max_chars=50)]
