"""The official OpenAI client works against `/v1` as it is: answers, streams, errors and leaving, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParameters
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParameters

from services.router.openai_requests import CHAT, COMPLETIONS, Dialect
from services.router.settings import ComponentSettings, RouterSettings
from tests.services.conftest import Tiny
from tests.services.router.rig import CHAT_FIELDS, Stack, chat, eventually, http, router, stack, text, workflow
from tests.services.tasks.serving import serve, settings_of

pytestmark = pytest.mark.server

TOKEN = "secret"
HANG = json.dumps({"hang": True})


@pytest.fixture(scope="module")
def doors() -> Iterator[Stack]:
    """Components `chat`, `warm` (with parameters of its own), `text` and `other`, of which two have the same model."""
    warm = {
        "fields": {
            **CHAT_FIELDS,
            "temperature": "${input.temperature as number | 0.4}",
            "do_sample": False,
            "max_output_length": 9,
            "stop_sequences": ["END"],
        },
        "output": "never <${result}>",
    }
    components: list[ComponentSettings] = [
        chat(model="owner/chat"),
        chat("warm", action=warm, model="owner/warm"),
        text(model="owner/text"),
        text("other", model="owner/text", default=True),
    ]
    private = workflow("text", private=True)
    with (
        TemporaryDirectory(prefix="mc-") as folder,
        stack(Path(folder), components, [private], auth_token=TOKEN, max_body_bytes=100_000) as running,
    ):
        yield running


@pytest.fixture
def client(doors: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{doors.router.address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture
async def asynchronous(doors: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{doors.router.address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content if isinstance(content, str) else json.dumps(content)}]


def post(doors: Stack, path: str, body: Any, **options: Any) -> httpx.Response:
    """Without the client, for what it cannot send."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return http("POST", f"{doors.router.address}/v1/{path}", **({"headers": headers, "json": body} | options))


def sent(client: OpenAI, model: str = "chat", **parameters: Any) -> dict[str, Any]:
    """The fields that reach the task."""
    answer = client.chat.completions.create(model=model, messages=user({"fields": True}), **parameters)
    fields = json.loads(answer.choices[0].message.content or "")
    del fields["messages"]
    return dict(fields)


def test_a_chat_is_answered_in_openais_shape(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="chat", messages=user("one two three"))
    found = answer.to_dict()
    assert (str(found.pop("id"))[:9], found.pop("created", 0) != 0) == ("chatcmpl-", True)
    message = {"role": "assistant", "content": "one two three", "refusal": None}
    assert found == {
        "object": "chat.completion",
        "model": "chat",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }


def test_every_kind_of_message_becomes_chat_content(client: OpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "a ${input.x}"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        {"role": "assistant", "content": "<|im_start|>", "refusal": None, "tool_calls": None},
        *user({"messages": True}),
    ]
    answer = client.chat.completions.create(model="chat", messages=messages)
    assert json.loads(answer.choices[0].message.content or "") == [
        {"role": "system", "content": "a ${input.x}"},
        {"role": "system", "content": "b\nc"},
        {"role": "assistant", "content": "<|im_start|>"},
        *user({"messages": True}),
    ]


def test_a_chat_is_streamed_in_chunks(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(model="chat", messages=user("one two"), stream=True, stream_options=options)
    chunks = [chunk.to_dict() for chunk in stream]
    assert {chunk.pop("object") for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.pop("id"), chunk.pop("created"), chunk.pop("model")) for chunk in chunks}) == 1

    def part(delta: Any, reason: str | None = None) -> Any:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {"choices": [choice], "usage": None}

    assert chunks == [
        part({"role": "assistant", "content": "one"}),
        part({"content": " two"}),
        part({}, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}},
    ]


def test_a_stream_ends_with_done_and_is_of_one_type(doors: Stack) -> None:
    answer = post(doors, "chat/completions", {"model": "chat", "messages": user("hi"), "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    assert '"usage"' not in answer.text


def test_an_empty_answer_is_a_stream_too(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="chat", messages=user({"tokens": 0}), stream=True)
    assert [chunk.choices[0].delta.to_dict() for chunk in stream] == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_have_their_own_ends(client: OpenAI, stream: bool) -> None:
    messages = user({"text": "a b", "finish": ["stop", "length"]})
    answer: Any = client.chat.completions.create(model="chat", messages=messages, n=2, stream=stream)
    if not stream:
        found = {choice.index: (choice.message.content, choice.finish_reason) for choice in answer.choices}
    else:
        found = {0: ("", ""), 1: ("", "")}
        for chunk in answer:
            for choice in chunk.choices:
                whole, reason = found[choice.index]
                found[choice.index] = whole + (choice.delta.content or ""), choice.finish_reason or reason
    assert found == {0: ("a b", "stop"), 1: ("a b", "length")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "n", "texts"),
    [
        ("one two", 1, ["one two"]),
        (["one"], 1, ["one"]),
        (["one", "two three"], 1, ["one", "two three"]),
        (["one", "two three"], 2, ["one", "one", "two three", "two three"]),
    ],
)
def test_completions_have_a_choice_for_each_prompt_and_n(
    client: OpenAI, prompt: Any, n: int, texts: list[str], stream: bool
) -> None:
    answer: Any = client.completions.create(model="text", prompt=prompt, n=n, stream=stream)
    found = [""] * len(texts)
    for part in answer if stream else [answer]:
        assert part.object == "text_completion"
        for choice in part.choices:
            found[choice.index] += choice.text
    assert found == texts


def test_echo_asks_for_the_prompt_in_the_answer(client: OpenAI) -> None:
    for echo in (None, False, True):
        answer = client.completions.create(model="text", prompt=json.dumps({"fields": True}), echo=echo)
        assert json.loads(answer.choices[0].text)["return_full_text"] is bool(echo)


def test_parameters_reach_the_task_under_our_names(client: OpenAI) -> None:
    parameters: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.25,
        "seed": 7,
        "stop": "x",
        "max_completion_tokens": 5,
        "n": 1,
    }
    expected = {"temperature": 0.5, "top_p": 0.25, "seed": 7, "stop_sequences": ["x"], "max_output_length": 5}
    assert sent(client, **parameters) == {**expected, "num_return_sequences": 1}
    assert sent(client, max_tokens=6) == {"max_output_length": 6, "num_return_sequences": 1}


def test_the_files_own_parameters_stand_below_the_requests(client: OpenAI) -> None:
    own = {"temperature": 0.4, "do_sample": False, "max_output_length": 9, "stop_sequences": ["END"]}
    assert sent(client, "warm") == {**own, "num_return_sequences": 1}
    del own["do_sample"]  # who names a temperature wants sampling
    assert sent(client, "warm", temperature=1, stop=None) == {**own, "temperature": 1, "num_return_sequences": 1}


def test_models_are_listed_and_found_by_id_and_by_name(client: OpenAI) -> None:
    listed = [(model.id, model.object, model.owned_by) for model in client.models.list()]
    assert listed == [(name, "model", "model-compose") for name in ("chat", "warm", "text", "other")]
    for name in ("text", "owner/text"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as found:
        client.models.retrieve("owner/none")
    assert (found.value.code, found.value.param) == ("model_not_found", "model")


def test_a_model_that_two_components_have_means_the_default_one(client: OpenAI, doors: Stack) -> None:
    before = doors.tasks["other"].counters()["started"]
    assert client.completions.create(model="owner/text", prompt="hi").model == "owner/text"
    assert doors.tasks["other"].counters()["started"] == before + 1


async def test_the_asynchronous_client_works_too(asynchronous: AsyncOpenAI) -> None:
    answer = await asynchronous.chat.completions.create(model="owner/chat", messages=user("hi"))
    assert answer.choices[0].message.content == "hi"
    stream = await asynchronous.chat.completions.create(model="chat", messages=user("a b c"), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "a b c"


HARMLESS: dict[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": {"type": "text"},
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "service_tier": "auto",
    "store": False,
    "user": "me",
    "metadata": {"a": "b"},
    "verbosity": "medium",
    "safety_identifier": "x",
    "prompt_cache_key": "y",
}
UNSUPPORTED: dict[str, Any] = {
    "frequency_penalty": 0.5,
    "presence_penalty": -1,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "reasoning_effort": "high",
    "service_tier": "flex",
    "store": True,
    "verbosity": "low",
    "web_search_options": {},
}


def test_harmless_values_are_accepted_and_null_always(client: OpenAI) -> None:
    bare = {"num_return_sequences": 1}
    assert sent(client, **HARMLESS) == bare
    assert sent(client, extra_body=dict.fromkeys([*UNSUPPORTED, "max_tokens", "stop", "seed"])) == bare


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_done_is_refused_by_name(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as found:
        sent(client, extra_body={name: UNSUPPORTED[name]})
    assert (found.value.param, found.value.code) == (name, "unsupported_parameter")
    assert found.value.body == {
        "message": f'"{name}" is not supported. Leave it out.',
        "type": "invalid_request_error",
        "param": name,
        "code": "unsupported_parameter",
    }


@pytest.mark.parametrize(("dialect", "parameters"), [(CHAT, ChatParameters), (COMPLETIONS, CompletionParameters)])
def test_every_parameter_of_the_official_client_is_known(dialect: Dialect, parameters: type) -> None:
    assert set(get_type_hints(parameters)) <= set(dialect.keys)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_value"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
            "invalid_value",
        ),
        ({"messages": [{"role": "user", "content": "x", "name": "Bo"}]}, "messages[0].name", "unsupported_parameter"),
        ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, "messages[0].mood", "unknown_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_value"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"user": "u" * 256}, "user", "invalid_value"),
        ({"metadata": {"m": "m" * 16_384}}, "metadata", "invalid_value"),
        ({"temperature": "warm"}, "temperature", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 4, "max_completion_tokens": 4}, "max_tokens", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"stop": {}}, "stop", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options", "unknown_parameter"),
        ({"metadata": "x"}, "metadata", "invalid_value"),
        ({"model": "text"}, "model", "model_not_supported"),
    ],
)
def test_what_does_not_fit_is_a_400_that_names_it(doors: Stack, change: Any, param: str, code: str) -> None:
    answer = post(doors, "chat/completions", {"model": "chat", "messages": user("hi"), **change})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert "is missing" in error["message"] or error["message"].count('"') >= 2


@pytest.mark.parametrize("prompt", [None, [], [1, 2], [[1], [2]], ["a", 3], {"a": 1}])
def test_a_prompt_is_text_or_texts(doors: Stack, prompt: Any) -> None:
    answer = post(doors, "completions", {"model": "text", "prompt": prompt})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")


def test_no_component_makes_embeddings(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as found:
        client.embeddings.create(model="chat", input="hi")
    assert found.value.code == "model_not_found"
    assert "No component of the file makes embeddings." in found.value.message


@pytest.mark.parametrize(
    ("knobs", "kind", "code"),
    [
        ({"refuse": [422, "prompt_too_long"]}, openai.BadRequestError, "prompt_too_long"),
        ({"refuse": [429, "queue_full"]}, openai.RateLimitError, "queue_full"),
        ({"refuse": [503, "overloaded"]}, openai.InternalServerError, "overloaded"),
        ({"tokens": 2, "fail_at": 0}, openai.InternalServerError, "generation_failed"),
        ({"broken": "json", "tokens": 0}, openai.InternalServerError, "invalid_task_answer"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_fails_raises_the_clients_own_exception(
    client: OpenAI, knobs: Any, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(kind) as found:
        client.chat.completions.create(model="chat", messages=user(knobs), stream=stream)
    assert found.value.code == code
    assert found.value.response.headers.get("retry-after") == ("7" if code in ("queue_full", "overloaded") else None)


def test_a_failure_after_the_stream_began_is_raised_from_it(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="chat", messages=user({"tokens": 4, "fail_at": 2}), stream=True)
    chunks = iter(stream)
    assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["w0", " w1"]
    with pytest.raises(openai.APIError, match="Failed on request") as found:
        next(chunks)
    assert found.value.code == "generation_failed"


def test_errors_of_every_status_have_openais_shape(doors: Stack) -> None:
    base, good = f"{doors.router.address}/v1", {"Authorization": f"Bearer {TOKEN}"}
    as_json = {**good, "Content-Type": "application/json"}
    answers = [
        http("GET", f"{base}/models"),
        http("GET", f"{base}/models", headers={**good, "Host": "evil.example"}),
        http("GET", f"{base}/models", headers={**good, "Origin": "https://evil.example"}),
        http("GET", f"{base}/nothing", headers=good),
        http("GET", f"{base}/chat/completions", headers=good),
        http("POST", f"{base}/chat/completions", headers=as_json, content="{"),
        http("POST", f"{base}/chat/completions", headers=as_json, content="[]"),
        http("POST", f"{base}/chat/completions", headers=as_json, content="x" * 100_001),
        http("POST", f"{base}/chat/completions", headers={**good, "Content-Type": "text/plain"}, content="hi"),
    ]
    found = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert found == [
        (401, "token_required"),
        (403, "host_not_allowed"),
        (403, "origin_not_allowed"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (400, "invalid_json"),
        (400, "invalid_body"),
        (413, "body_too_large"),
        (415, "unsupported_media_type"),
    ]
    assert {tuple(answer.json()["error"]) for answer in answers} == {("message", "type", "param", "code")}
    assert {tuple(answer.json()) for answer in answers} == {("error",)}


def test_a_wrong_key_is_an_authentication_error(doors: Stack) -> None:
    with (
        OpenAI(base_url=f"{doors.router.address}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as found,
    ):
        client.models.list()
    assert found.value.code == "token_required"


def authorized(doors: Stack, path: str) -> Any:
    return doors.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).json()


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
