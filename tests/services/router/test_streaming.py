"""Streams: chunks as they come, equal in sum to the answer without a stream, and always a last event."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.services.router.rig import Stack, async_http, eventually
from ui.sse import read_events

pytestmark = pytest.mark.server

STREAM = {"Accept": "text/event-stream"}


async def stream(shared: Stack, body: Any, **headers: str) -> tuple[httpx.Response, list[tuple[str, str]]]:
    """The answer and its events as (name, data)."""
    async with (
        async_http() as client,
        client.stream("POST", f"{shared.base}/workflows/runs", json=body, headers={**STREAM, **headers}) as answer,
    ):
        return answer, [(event.name, event.data) async for event in read_events(answer.aiter_bytes())]


def body_of(workflow_id: str, prompt: Any, **more: Any) -> dict[str, Any]:
    name = "user_prompt" if workflow_id == "chat" else "prompt"
    return {"workflow_id": workflow_id, "input": {name: prompt}, **more}


async def test_one_text_is_streamed_as_text(shared: Stack) -> None:
    answer, events = await stream(shared, body_of("text", "one two\n\nthree "))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [data for _, data in events[:-1]] == ["one", " two", "\n\nthree", " "]
    name, data = events[-1]
    done = json.loads(data)
    assert (name, done["output"], done["task_id"]) == ("done", "one two\n\nthree ", answer.headers["X-Task-Id"])
    assert done["usage"]["completion_tokens"] == 4


async def test_a_mapped_text_is_streamed_with_its_path(shared: Stack) -> None:
    _, events = await stream(shared, body_of("chat", "one two"))
    assert [json.loads(data) for _, data in events[:-1]] == [
        {"path": "generated", "delta": "one"},
        {"path": "generated", "delta": " two"},
    ]
    assert json.loads(events[-1][1])["output"] == {"generated": "one two"}


async def test_a_transformed_text_arrives_as_one_chunk(shared: Stack) -> None:
    _, events = await stream(shared, body_of("transformed", "one two"))
    assert [data for _, data in events[:-1]] == ["Answer: one two"]


@pytest.mark.parametrize(
    ("workflow_id", "given"),
    [
        ("mixed", {"prompt": "one two three"}),
        ("chain", {"prompt": "one two"}),
        ("repeated", {"count": 3, "prompts": ["a b", "c", "d e f"]}),
        ("repeated", {"count": 1, "prompts": ["a b"]}),
    ],
)
async def test_joined_chunks_equal_the_answer_without_stream(shared: Stack, workflow_id: str, given: Any) -> None:
    body = {"workflow_id": workflow_id, "input": given}
    _, events = await stream(shared, body)
    joined: dict[str, str] = {}
    for _, data in events[:-1]:
        chunk = json.loads(data) if data.startswith("{") else {"path": "", "delta": data}
        joined[chunk["path"]] = joined.get(chunk["path"], "") + chunk["delta"]
    plain = shared.post(body).json()["output"]
    assert json.loads(events[-1][1])["output"] == plain
    if isinstance(plain, dict):
        assert joined == {key: value for key, value in plain.items() if isinstance(value, str)}
    elif isinstance(plain, list):
        assert joined == {f"[{index}]": value for index, value in enumerate(plain)}
    else:
        assert joined == {"": plain}


async def test_output_only_streams_when_the_file_asks_for_it(shared: Stack) -> None:
    async with async_http() as client:
        asked = await client.post(f"{shared.base}/workflows/runs", json=body_of("streaming", "a b", output_only=True))
        plain = await client.post(f"{shared.base}/workflows/runs", json=body_of("streaming", "a b"))
    assert asked.text.startswith("data: a\n\ndata:  b\n\nevent: done\n")
    assert plain.json()["output"] == "a b"


async def test_chunks_come_while_the_rest_is_made(shared: Stack) -> None:
    body = body_of("text", json.dumps({"tokens": 20, "ms": 50}))
    began = time.monotonic()
    async with (
        async_http() as client,
        client.stream("POST", f"{shared.base}/workflows/runs", json=body, headers=STREAM) as answer,
    ):
        events = read_events(answer.aiter_bytes())
        first = await anext(events)
        assert first.data == "w0"
        assert time.monotonic() - began < 0.9
        task = shared.get(f"/tasks/{answer.headers['X-Task-Id']}").json()
        assert task["status"] == "streaming"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (body_of("nope", "x"), 404, "unknown_workflow"),
        (body_of("text", None), 422, "missing_input"),
        (body_of("text", json.dumps({"refuse": [429, "queue_full"]})), 429, "queue_full"),
        (body_of("text", json.dumps({"broken": "json", "tokens": 0})), 502, "invalid_task_answer"),
    ],
)
async def test_what_fails_before_the_first_chunk_has_its_own_status(
    shared: Stack, body: Any, status: int, code: str
) -> None:
    async with async_http() as client:
        answer = await client.post(f"{shared.base}/workflows/runs", json=body, headers=STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("knobs", "code"),
    [
        ({"fail_at": 2}, "generation_failed"),
        ({"broken": "cut"}, "task_crashed"),
        ({"broken": "nan"}, "non_finite_output"),
    ],
)
async def test_a_failure_in_mid_stream_is_the_last_event(shared: Stack, knobs: Any, code: str) -> None:
    answer, events = await stream(shared, body_of("text", json.dumps({"tokens": 4, **knobs})))
    name, data = events[-1]
    error = json.loads(data)["error"]
    assert (name, error["code"], error["request_id"]) == ("error", code, answer.headers["X-Request-Id"])
    assert len(events) > 1


async def test_a_stream_that_is_cancelled_by_id_ends_with_an_error_event(shared: Stack) -> None:
    body = body_of("text", json.dumps({"tokens": 1000, "ms": 20}))
    async with (
        async_http() as client,
        client.stream("POST", f"{shared.base}/workflows/runs", json=body, headers=STREAM) as answer,
    ):
        events = read_events(answer.aiter_bytes())
        await anext(events)
        cancelled = await client.post(f"{shared.base}/tasks/{answer.headers['X-Task-Id']}/cancel")
        rest = [event async for event in events]
    assert cancelled.json()["status"] == "cancelled"
    assert (rest[-1].name, json.loads(rest[-1].data)["error"]["code"]) == ("error", "cancelled")
    eventually(lambda: shared.tasks["text"].counters()["computing"] == 0)


async def test_headers_with_the_task_id_come_before_the_first_token(shared: Stack) -> None:
    body = body_of("text", json.dumps({"hang": True}))
    async with (
        async_http() as client,
        client.stream("POST", f"{shared.base}/workflows/runs", json=body, headers=STREAM) as answer,
    ):
        assert len(answer.headers["X-Task-Id"]) == 26
    eventually(lambda: shared.tasks["text"].counters()["computing"] == 0)
