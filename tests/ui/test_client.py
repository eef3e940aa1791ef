"""The client against a real server on loopback: answers, streams, and every failure as one sentence."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tests.ui.fake_api import PATIENCE_S, Broken, FakeApi, Json, Refused, serving
from ui.client import ApiClient, ApiError, Chunk, Finished, StreamEvent
from ui.live import LiveRuns
from ui.result import Answer
from ui.schema import Output

pytestmark = pytest.mark.server


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    with serving(fake.app()) as port:
        fake.port = port
        yield fake


async def test_asks_with_its_token(api: FakeApi) -> None:
    async with ApiClient(api.url, token="secret") as client:
        assert await client.workflows() == api.workflows
    assert api.tokens == ["Bearer secret"]


async def test_readiness_is_an_answer_also_when_not_ready(api: FakeApi) -> None:
    async with ApiClient(api.url) as client:
        assert await client.ready() == {"status": "ready", "components": {}}


async def test_run_sends_only_what_is_set(api: FakeApi) -> None:
    history = [{"role": "user", "content": "hi"}]
    async with ApiClient(api.url) as client:
        answer = await client.run(None, {"prompt": "a b"})
        bare = await client.run("story", {"prompt": "a"}, output_only=True, session_id="s", history=history)
    assert answer == {"task_id": "01TASK", "output": {"generated": "a b "}}
    assert bare == {"generated": "a "}
    assert api.bodies == [
        {"input": {"prompt": "a b"}},
        {
            "input": {"prompt": "a"},
            "workflow_id": "story",
            "output_only": True,
            "session_id": "s",
            "history": history,
        },
    ]


async def test_stream_of_an_output_with_parts(api: FakeApi) -> None:
    async with ApiClient(api.url) as client:
        events = [event async for event in client.stream("story", {"prompt": "a b"})]
    assert events == [
        Chunk("a ", "generated"),
        Chunk("b ", "generated"),
        Finished({"generated": "a b "}, task_id="01TASK"),
    ]


async def test_stream_of_one_text_keeps_its_lines_and_spaces(api: FakeApi) -> None:
    texts = ["one", " two\n\n three", '{"path": 1}', "{", "\u2028"]

    async def script(body: Json) -> AsyncIterator[StreamEvent]:
        for text in texts:
            yield Chunk(text)
        yield Finished("".join(texts), {"seed": 7}, [{"code": "capped", "message": "The output was capped."}])

    api.script = script
    async with ApiClient(api.url) as client:
        events = [event async for event in client.stream("story", {})]
    assert events == [
        *(Chunk(text) for text in texts),
        Finished("".join(texts), {"seed": 7}, [{"code": "capped", "message": "The output was capped."}], "01TASK"),
    ]


async def test_leaving_a_stream_closes_its_connection(api: FakeApi) -> None:
    async def endless(body: Json) -> AsyncIterator[StreamEvent]:
        while True:
            yield Chunk("on ")
            await asyncio.sleep(0.001)

    api.script = endless
    async with ApiClient(api.url) as client:
        async with aclosing(client.stream("story", {"prompt": "a"})) as events:
            assert await anext(events) == Chunk("on ")
        await asyncio.to_thread(api.left.get, timeout=PATIENCE_S)


@pytest.mark.parametrize("steps", range(6))
async def test_a_run_ended_twice_closes_its_connection(steps: int, api: FakeApi) -> None:
    """A page that is closed ends its run by both of its connections, the second one in the midst of the first's work.

    steps: of the event loop, between the two.
    """

    async def endless(body: Json) -> AsyncIterator[StreamEvent]:
        while True:
            yield Chunk("on ", "generated")
            await asyncio.sleep(0.001)

    api.script = endless
    live = LiveRuns()
    async with ApiClient(api.url) as client:
        answer = Answer([Output(name="generated")])
        async with aclosing(live.follow("session", "story", client.stream("story", {}), answer)) as following:
            await anext(following)
            live.leave("session")
            for _ in range(steps):
                await asyncio.sleep(0)
        await asyncio.to_thread(api.left.get, timeout=PATIENCE_S)


async def test_cancel_names_the_run(api: FakeApi) -> None:
    async with ApiClient(api.url) as client:
        await client.cancel("01TASK")
    assert api.cancelled == ["01TASK"]


async def failure(client: ApiClient) -> ApiError:
    with pytest.raises(ApiError) as caught:
        _ = [event async for event in client.stream("story", {})]
    return caught.value


async def test_a_refusal_keeps_every_part_of_the_error(api: FakeApi) -> None:
    async def refuse(body: Json) -> AsyncIterator[StreamEvent]:
        raise Refused(
            422, {"code": "missing_input", "message": "`prompt` is missing.", "hint": "Send it.", "field": "prompt"}
        )
        yield

    api.script = refuse
    async with ApiClient(api.url) as client:
        error = await failure(client)
        assert vars(error) == {
            "status": 422,
            "code": "missing_input",
            "message": "`prompt` is missing.",
            "hint": "Send it.",
            "field": "prompt",
        }
        with pytest.raises(ApiError, match=r"^`prompt` is missing\.$"):
            await client.run("story", {})


async def test_a_run_that_fails_midway_ends_its_stream_with_the_error(api: FakeApi) -> None:
    async def crash(body: Json) -> AsyncIterator[StreamEvent]:
        yield Chunk("some")
        raise Broken({"code": "task_crashed", "message": "The model's process ended."})

    api.script = crash
    async with ApiClient(api.url) as client:
        error = await failure(client)
    assert (error.status, error.code, error.message) == (None, "task_crashed", "The model's process ended.")


async def test_nobody_listening_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with ApiClient(f"http://127.0.0.1:{port}/api") as client:
        error = await failure(client)
    assert (error.status, error.code) == (None, "unreachable")
    assert error.message == f"The router at 127.0.0.1:{port} cannot be reached."
    assert error.hint == "Is `model-compose up` running? It may still be starting."


async def cut_short() -> AsyncIterator[str]:
    yield "data: some\n\n"


FOREIGN: dict[str, tuple[Response, tuple[int | None, str, str]]] = {
    "a page": (
        PlainTextResponse("<html>", 200),
        (200, "bad_answer", "What answers at the router's address does not speak the runs API (status 200)."),
    ),
    "a proxy's error": (
        PlainTextResponse("Bad gateway", 502),
        (502, "bad_answer", "What answers at the router's address does not speak the runs API (status 502)."),
    ),
    "JSON of another kind": (
        JSONResponse({"detail": "no"}, 404),
        (404, "bad_answer", "What answers at the router's address does not speak the runs API (status 404)."),
    ),
    "a stream without end": (
        StreamingResponse(cut_short(), media_type="text/event-stream"),
        (None, "interrupted", "The connection to the router broke off."),
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_answer_is_one_sentence(name: str) -> None:
    response, expected = FOREIGN[name]
    with serving(response) as port:
        async with ApiClient(f"http://127.0.0.1:{port}/api") as client:
            error = await failure(client)
    assert (error.status, error.code, error.message) == expected


async def test_silence_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.client.STREAM_SILENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with ApiClient(f"http://127.0.0.1:{silent.getsockname()[1]}/api") as client:
            error = await failure(client)
    assert (error.status, error.code, error.message) == (None, "timeout", "The router did not answer in time.")


def test_importing_the_client_loads_no_library() -> None:
    code = "import sys, ui.client; print(sorted({'httpx', 'gradio', 'pydantic', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
