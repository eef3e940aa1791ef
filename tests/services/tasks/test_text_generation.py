"""text-generation over a real socket says what `generate()` says."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.services.tasks.conftest import Known, Served

if TYPE_CHECKING:
    from tests.models import Architecture

pytestmark = pytest.mark.server

PROMPT = "Once upon a time in a distant galaxy"
GREEDY = {"temperature": 0, "max_output_length": 24}


@pytest.mark.parametrize("architecture", ["gpt_neo", "codegen", "mistral", "llama"])
def test_greedy_equals_generate(served: Served, reference: Known, architecture: "Architecture") -> None:
    known = reference(architecture)
    ids = known.tokenizer.encode(PROMPT)
    expected = known.generate(ids, continues=True, max_new_tokens=24, do_sample=False)
    answer = served(architecture, "text-generation").done({"text": PROMPT, **GREEDY})
    assert answer["result"] == PROMPT + expected
    tokens = {"prompt_tokens": len(ids), "completion_tokens": 24, "total_tokens": len(ids) + 24}
    assert (answer["usage"], answer["warnings"]) == (tokens, [])


def test_sampling_from_one_candidate_equals_generate(served: Served, reference: Known) -> None:
    known = reference("mistral")
    ids = known.tokenizer.encode(PROMPT)
    expected = known.generate(ids, continues=True, max_new_tokens=24, do_sample=False, repetition_penalty=1.2)
    spread: dict[str, Any] = {"temperature": 0.9, "top_p": 0.8, "top_k": 1, "repetition_penalty": 1.2}
    answer = served("mistral", "text-generation").done({"prompt": PROMPT, "max_output_length": 24, "seed": 7, **spread})
    assert (answer["result"], answer["usage"]["seed"]) == (expected, 7)


def test_the_seed_comes_from_the_request_unless_the_action_gives_one(served: Served) -> None:
    task = served("mistral", "text-generation")
    fields = {"prompt": PROMPT, "max_output_length": 16}
    first = task.done(fields, seed=11)
    assert task.done(fields, seed=11) == first
    assert task.done({**fields, "seed": 11}, seed=12) == first
    assert task.done({**fields, "seed": "random"}, seed=11) == first
    assert task.done(fields, seed=12)["result"] != first["result"]


@pytest.mark.parametrize("architecture", ["mistral", "gpt_neo"])
def test_the_stream_begins_with_the_prompt_and_joins_to_the_result(
    served: Served, architecture: "Architecture"
) -> None:
    task = served(architecture, "text-generation")
    *deltas, done = task.frames({"text": PROMPT, "max_output_length": 48})
    assert deltas[0] == {"type": "delta", "text": PROMPT, "path": []}
    assert len(deltas) > 10
    assert "".join(delta["text"] for delta in deltas) == done["result"]
    assert task.frames({"text": PROMPT, "max_output_length": 48}, stream=False) == [done]


@pytest.mark.parametrize(
    ("fields", "repeats"),
    [
        ({"text": PROMPT}, True),
        ({"prompt": PROMPT}, False),
        ({"text": PROMPT, "return_full_text": False}, False),
        ({"prompt": PROMPT, "return_full_text": True}, True),
    ],
)
def test_text_repeats_the_prompt(served: Served, fields: dict[str, object], repeats: bool) -> None:
    result = served("mistral", "text-generation").done({**fields, **GREEDY})["result"]
    assert result.startswith(PROMPT) == repeats


def test_a_list_in_gives_a_list_out(served: Served) -> None:
    task = served("mistral", "text-generation")
    alone = [task.done({"text": text, **GREEDY})["result"] for text in (PROMPT, "Hello")]
    *deltas, done = task.frames({"text": [PROMPT, "Hello"], "batch_size": 2, **GREEDY})
    assert done["result"] == alone
    joined = ["".join(delta["text"] for delta in deltas if delta["path"] == [index]) for index in (0, 1)]
    assert joined == alone


@pytest.mark.parametrize(("architecture", "task"), [("mistral", "text-generation"), ("blenderbot", "text-to-text")])
def test_an_empty_list_gives_an_empty_list(served: Served, architecture: "Architecture", task: str) -> None:
    (done,) = served(architecture, task).frames({"text": [], **GREEDY})
    assert (done["type"], done["result"], done["usage"]["completion_tokens"]) == ("done", [], 0)


def test_several_sequences_give_a_list(served: Served) -> None:
    task = served("mistral", "text-generation")
    *deltas, done = task.frames({"text": [PROMPT, "Hello"], "num_return_sequences": 3, "max_output_length": 8})
    assert [len(sequences) for sequences in done["result"]] == [3, 3]
    for prompt, sequences in enumerate(done["result"]):
        for sequence, text in enumerate(sequences):
            assert "".join(delta["text"] for delta in deltas if delta["path"] == [prompt, sequence]) == text
    assert len(set(done["result"][0])) > 1


def test_beams_equal_generate(served: Served, reference: Known) -> None:
    known = reference("gpt_neo")
    beams: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.5, "early_stopping": True}
    ids = known.tokenizer.encode(PROMPT)
    expected = known.generate(ids, continues=True, max_new_tokens=12, do_sample=False, **beams)
    *deltas, done = served("gpt_neo", "text-generation").frames({"prompt": PROMPT, "max_output_length": 12, **beams})
    assert done["result"][0] == expected
    assert ["".join(delta["text"] for delta in deltas if delta["path"] == [index]) for index in (0, 1)] == done[
        "result"
    ]


def test_stop_sequences_end_the_answer_and_never_leak(served: Served) -> None:
    task = served("mistral", "text-generation")
    whole = task.done({"prompt": PROMPT, **GREEDY})
    stop = whole["result"][9:12]
    *deltas, done = task.frames({"prompt": PROMPT, "stop_sequences": ["never this", stop], **GREEDY})
    assert done["result"] == whole["result"][: whole["result"].index(stop)]
    assert (whole["finish_reasons"], done["finish_reasons"]) == (["length"], ["stop"])
    assert "".join(delta["text"] for delta in deltas) == done["result"]
    assert done["usage"]["completion_tokens"] < 24


def test_an_answer_that_is_too_long_is_capped_with_a_warning(served: Served) -> None:
    done = served("mistral", "text-generation").done({"prompt": PROMPT, "max_output_length": 32768})
    assert done["usage"]["total_tokens"] <= 256
    assert [warning["code"] for warning in done["warnings"]] == ["output_capped"]


def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(served: Served) -> None:
    status, error = served("mistral", "text-generation").refused({"text": "Hello " * 400})
    assert (status, error["code"]) == (422, "prompt_too_long")
    assert "tokens and the model holds 256, so there is no room for an answer." in error["message"]


def test_max_input_length_drops_the_end(served: Served) -> None:
    task = served("gpt_neo", "text-generation")
    cut = task.done({"text": "Hello world " * 400, "max_input_length": 6, **GREEDY})
    assert cut["usage"]["prompt_tokens"] == 6
    assert cut["result"].startswith("Hello world")
    assert not cut["result"].startswith("Hello world " * 6)
    (warning,) = cut["warnings"]
    assert (warning["code"], warning["field"]) == ("input_truncated", "text")
    assert warning["message"].endswith("only the first 6 were read.")


def test_prompts_are_tokenised_as_written(served: Served, reference: Known) -> None:
    ids = reference("mistral").tokenizer.encode("Hello</s> you")
    assert reference("mistral").tokenizer.eos_token_id in ids
    answer = served("mistral", "text-generation").done({"prompt": "Hello</s> you", **GREEDY})
    assert answer["usage"]["prompt_tokens"] == len(ids)


def test_an_empty_prompt_begins_a_text(served: Served) -> None:
    assert served("gpt_neo", "text-generation").done({"text": "", **GREEDY})["usage"]["prompt_tokens"] == 1


def test_text_that_is_no_unicode_is_refused(served: Served) -> None:
    status, error = served("mistral", "text-generation").refused({"text": "\ud800"})
    assert (status, error) == (
        422,
        {"code": "invalid_text", "message": '"text" is not valid Unicode.', "field": "text", "status": 422},
    )


def test_an_encoder_decoder_answers_with_its_decoders_text(served: Served, reference: Known) -> None:
    known = reference("blenderbot")
    expected = known.generate(known.tokenizer.encode("Hello, how are you?"), do_sample=False)
    *deltas, done = served("blenderbot", "text-generation").frames({"text": "Hello, how are you?"})
    assert done["result"] == expected
    assert "".join(delta["text"] for delta in deltas) == expected
    status, error = served("blenderbot", "text-generation").refused({"text": "Hello", "max_length": 1})
    assert (status, error["code"]) == (422, "prompt_too_long")
    long = served("blenderbot", "text-generation").done({"text": "Hello " * 300, "num_beams": 1, "temperature": 0})
    assert [warning["code"] for warning in long["warnings"]] == ["input_truncated"]
    assert long["usage"]["prompt_tokens"] == 128
