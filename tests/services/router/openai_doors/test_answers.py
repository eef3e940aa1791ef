"""The official OpenAI client reads our answers and streams, over real sockets."""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.services.router.openai_doors.asking import post, sent, user
from tests.services.router.rig import Stack

pytestmark = pytest.mark.server


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
    assert listed == [(name, "model", "model-compose") for name in ("chat", "warm", "text", "other", "vectors")]
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
