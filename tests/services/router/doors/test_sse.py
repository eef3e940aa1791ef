"""Events are written so that their text comes back, buffered within bounds, and never end without a last one."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.doors import sse
from services.router.doors.sse import MAX_BUFFERED_BYTES, Channel, event_of_text, send_events
from services.router.messages import Run, RunStatus
from ui.sse import read_events

pytestmark = pytest.mark.unit

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1)


async def events_of(text: str) -> list[str]:
    async def chunks() -> Any:
        yield text.encode()

    return [event.data async for event in read_events(chunks())]


@given(TEXT)
async def test_any_text_comes_back(text: str) -> None:
    assert "".join(await events_of(event_of_text(text))) == text


@pytest.mark.parametrize("text", ['{"path":"a","delta":"b"}', ' {"a":1}', '{"delta": "b",\n"path": "a"}\n', "{}", "{x"])
async def test_no_text_can_be_taken_for_a_piece_of_an_object(text: str) -> None:
    events = await events_of(event_of_text(text))
    assert "".join(events) == text
    assert not any(event.startswith("{") and event.rstrip().endswith("}") for event in events)


async def test_carriage_returns_become_line_feeds() -> None:
    assert await events_of(event_of_text("a\r\nb\rc")) == ["a\nb\nc"]


class Client:
    """Takes what is sent; `stuck` takes nothing."""

    def __init__(self, stuck: bool = False) -> None:
        self.body = ""
        self.stuck = stuck
        self.complete = False
        self.commented_twice = asyncio.Event()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            if self.stuck:
                await asyncio.Event().wait()
            self.body += message["body"].decode()
            self.complete = not message["more_body"]
            if self.body.count(": still working\n\n") == 2:
                self.commented_twice.set()


def run_of() -> Run:
    run = Run("T", "w", "R", kept=False)
    run.status, run.output = RunStatus.COMPLETED, "ab"
    return run


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "COMMENT_EVERY_S", 0.01)
    channel, client = Channel(), Client()
    sending = asyncio.create_task(send_events(client.send, channel, run_of()))
    await client.commented_twice.wait()
    await channel.put("", "ab")
    channel.end()
    await sending
    assert client.body.endswith('data: ab\n\nevent: done\ndata: {"task_id":"T","output":"ab"}\n\n')
    assert client.complete


async def test_a_failed_run_ends_with_its_error() -> None:
    channel, client, run = Channel(), Client(), run_of()
    run.fail(ServiceError(502, "task_crashed", "It ended."))
    channel.end()
    await send_events(client.send, channel, run)
    assert client.body.startswith("event: error\ndata: {")
    assert '"error":{"code":"task_crashed","message":"It ended.","request_id":"R"}' in client.body


async def test_a_full_buffer_holds_the_writer_back_until_it_is_taken() -> None:
    channel = Channel()
    await channel.put("", "x" * MAX_BUFFERED_BYTES)
    writers = [asyncio.create_task(channel.put("a", "é" * MAX_BUFFERED_BYTES)) for _ in range(2)]
    await asyncio.wait(writers, timeout=0.01)
    assert not any(writer.done() for writer in writers)
    assert len(channel.take()) == len("data: \n\n") + MAX_BUFFERED_BYTES
    for writer in writers:
        async with asyncio.timeout(5):
            await writer
        assert len(channel.take()) == len('data: {"path":"a","delta":""}\n\n') + 2 * MAX_BUFFERED_BYTES
