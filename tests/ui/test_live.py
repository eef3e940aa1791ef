"""Runs that pages follow: shown as they grow, ended by a button, a second run or a closed page."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from ui.client import ApiError, Chunk, Finished, StreamEvent
from ui.live import LiveRuns, StoppedError
from ui.result import Answer
from ui.schema import Output

pytestmark = pytest.mark.unit


class Stream:
    """A stream that waits after its first chunk, and knows when it was closed."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            yield Chunk("One")
            await self.go_on.wait()
            yield Finished("One two")
        finally:
            self.closed.set()


async def test_beats_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.live.HEARTBEAT_S", 0.01)
    monkeypatch.setattr("ui.live.REFRESH_S", 0.01)
    stream, answer = Stream(), Answer([Output()])
    shown = []
    async for _ in LiveRuns().follow("session", "story", stream.events(), answer):
        shown.append(answer.text())
        if len(shown) == 3:
            stream.go_on.set()
    assert shown[:3] == ["One", "One", "One"]
    assert shown[-1] == "One two"


async def test_shows_what_is_new_and_ends_with_the_stream() -> None:
    stream, answer, live = Stream(), Answer([Output()]), LiveRuns()
    shown = []
    async for _ in live.follow("session", "story", stream.events(), answer):
        shown.append(answer.text())
        stream.go_on.set()
    assert shown == ["One", "One two"]
    assert stream.closed.is_set()


async def stop(live: LiveRuns) -> None:
    live.stop("session", "another")
    live.leave("stranger")
    live.stop("session", "story")


async def leave(live: LiveRuns) -> None:
    live.leave("session")


async def run_again(live: LiveRuns) -> None:
    async with aclosing(live.follow("session", "story", Stream().events(), Answer([Output()]))) as second:
        await anext(second)


@pytest.mark.parametrize("end", [stop, leave, run_again])
async def test_a_stopped_run_closes_its_stream(end: Callable[[LiveRuns], Awaitable[None]]) -> None:
    stream, live = Stream(), LiveRuns()
    following = live.follow("session", "story", stream.events(), Answer([Output()]))
    await anext(following)
    await end(live)
    with pytest.raises(StoppedError):
        await anext(following)
    assert stream.closed.is_set()


async def test_closing_the_follower_closes_the_stream() -> None:
    stream, live = Stream(), LiveRuns()
    async with aclosing(live.follow("session", "story", stream.events(), Answer([Output()]))) as following:
        await anext(following)
    assert stream.closed.is_set()


async def test_a_run_whose_page_is_not_open_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.live.ABSENCE_S", 0.1)
    monkeypatch.setattr("ui.live.HEARTBEAT_S", 0.01)
    monkeypatch.setattr("ui.live.REFRESH_S", 0.01)
    stream, live = Stream(), LiveRuns()
    following = live.follow("session", "story", stream.events(), Answer([Output()]))
    with live.listening("session"):
        for _ in range(30):
            with live.listening("session"):  # of its two connections one closes
                await anext(following)
    with live.listening("stranger"), pytest.raises(StoppedError):
        _ = [None async for _ in following]
    assert stream.closed.is_set()


async def test_an_error_of_the_stream_comes_through() -> None:
    async def failing() -> AsyncGenerator[StreamEvent, None]:
        raise ApiError(503, "loading", "The model is loading.")
        yield

    with pytest.raises(ApiError, match="loading"):
        async for _ in LiveRuns().follow("session", "story", failing(), Answer([Output()])):
            pass
