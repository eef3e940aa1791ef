"""What cannot be done is refused by name, and every failure has OpenAI's shape."""

from typing import Any, get_type_hints

import openai
import pytest
from openai import OpenAI
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParameters
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParameters

from services.router.doors.openai_requests import CHAT, COMPLETIONS, Dialect
from tests.services.router.openai_doors.asking import TOKEN, post, sent, user
from tests.services.router.rig import Stack, http

pytestmark = pytest.mark.server


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
