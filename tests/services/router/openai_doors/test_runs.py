"""A request of an OpenAI client is a run: listed, counted, cancelled when its client leaves."""

import asyncio
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from services.router.settings import RouterSettings
from tests.services.conftest import Tiny
from tests.services.router.openai_doors.asking import HANG, TOKEN, authorized, post, user
from tests.services.router.rig import Stack, chat, eventually, http, router, stack, workflow
from tests.services.tasks.serving import serve, settings_of

pytestmark = pytest.mark.server


def test_a_request_is_a_run_in_the_list_and_in_the_metrics(client: OpenAI, doors: Stack) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="chat", messages=user("hi"), user="me", metadata={"a": "b"}, extra_headers={"X-Request-Id": "mine"}
    )
    task_id = raw.headers["x-task-id"]
    assert raw.headers["x-request-id"] == "mine"
    assert raw.parse().id == f"chatcmpl-{task_id}"
    run = authorized(doors, f"/tasks/{task_id}")
    usage = run.pop("usage")
    assert usage["total_tokens"] == 2
    assert run == {
        "task_id": task_id,
        "status": "completed",
        "workflow_id": "v1/chat",
        "output": "hi",
        "session_id": "me",
        "metadata": {"a": "b"},
    }
    page = http("GET", f"{doors.router.address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'model_compose_runs_total{status="completed",workflow="v1/chat"}' in page
    listed = [item["workflow_id"] for item in authorized(doors, "/workflows")]
    assert listed == []


async def test_leaving_a_stream_ends_the_computation(asynchronous: AsyncOpenAI, doors: Stack) -> None:
    messages = user({"tokens": 10_000, "ms": 10})
    stream = await asynchronous.chat.completions.create(model="chat", messages=messages, stream=True)
    await anext(aiter(stream))
    assert doors.tasks["chat"].counters()["computing"] == 1
    await stream.close()
    eventually(lambda: doors.tasks["chat"].counters()["computing"] == 0, 2.5)


async def test_leaving_an_answer_ends_the_computation(asynchronous: AsyncOpenAI, doors: Stack) -> None:
    asking = asyncio.create_task(asynchronous.chat.completions.create(model="chat", messages=user(HANG)))
    while not doors.tasks["chat"].counters()["computing"]:  # noqa: ASYNC110 - another process tells it
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])
    eventually(lambda: doors.tasks["chat"].counters()["computing"] == 0, 2.5)


async def test_a_run_that_is_cancelled_is_not_tried_again(asynchronous: AsyncOpenAI, doors: Stack) -> None:
    before = doors.tasks["chat"].counters()["started"]
    patient = asynchronous.with_options(max_retries=2)
    asking = asyncio.create_task(patient.chat.completions.create(model="chat", messages=user(HANG)))
    while not doors.tasks["chat"].counters()["computing"]:  # noqa: ASYNC110 - another process tells it
        await asyncio.sleep(0.01)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    task_id = authorized(doors, "/tasks")[0]["task_id"]
    http("POST", f"{doors.base}/tasks/{task_id}/cancel", headers=headers)
    with pytest.raises(openai.ConflictError) as found:
        await asking
    assert found.value.code == "cancelled"
    assert doors.tasks["chat"].counters()["started"] == before + 1


def test_a_real_model_answers_the_official_client(folder: Path, tiny: Tiny) -> None:
    """Through the router and the task: the stream joins to the answer, and the limit is why it ends."""
    with serve(settings_of(tiny("smollm3"), "chat-completion")) as task:
        task.wait_ready()
        settings = RouterSettings(
            components=(chat(endpoint=f"unix:{task.path}", model="tiny/smollm3"),), workflows=(workflow("chat"),)
        )
        with router(folder, settings) as service, OpenAI(base_url=f"{service.address}/v1", api_key="any") as client:
            asked: Any = {"model": "tiny/smollm3", "messages": user("Hello"), "max_tokens": 5, "seed": 3, "n": 2}
            answer = client.chat.completions.create(**asked)
            assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
            assert answer.usage is not None
            assert answer.usage.completion_tokens == 10
            texts = ["", ""]
            for chunk in client.chat.completions.create(**asked, stream=True):
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
            assert texts == [choice.message.content for choice in answer.choices]
            with pytest.raises(openai.BadRequestError, match='"n" is 2') as found:
                client.chat.completions.create(**asked, temperature=0)
            assert found.value.param == "n"


def test_a_listed_page_may_send_what_the_client_sends(folder: Path) -> None:
    page = "https://page.example"
    with stack(folder, [chat()], [workflow("chat")], origins=(page,)) as running:
        answer = http(
            "OPTIONS",
            f"{running.router.address}/v1/chat/completions",
            headers={
                "Origin": page,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-stainless-arch,x-evil,openai-project",
            },
        )
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert (answer.status_code, allowed[-2:]) == (204, ["x-stainless-arch", "openai-project"])
    assert "x-evil" not in allowed


def test_a_half_sent_request_leaves_nothing_behind(doors: Stack) -> None:
    address = urlsplit(doors.router.address)
    before = doors.tasks["chat"].counters()["started"]
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    assert post(doors, "completions", {"model": "text", "prompt": "hi"}).status_code == 200
    assert doors.tasks["chat"].counters()["started"] == before
