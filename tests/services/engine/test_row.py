"""A row says the same text whether anybody watches it grow or not, and ends when it should."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.base import Finished, GenerationRequest, Job, Prompt
from services.engine.row import Answer, Row, make_decode
from services.engine.sampling.parameters import Sampling
from services.engine.text import Decode
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load
from tests.services.engine.test_text import decode_bytes, decode_words

if TYPE_CHECKING:
    from tests.models import Architecture

pytestmark = pytest.mark.unit

END = 255


def make_answer(
    *prompts: Prompt,
    decode: Decode = decode_bytes,
    seed: int = 1,
    stream: bool = True,
    sequences: int = 1,
    stop: str = "",
) -> Answer:
    sampling = Sampling(do_sample=True, num_return_sequences=sequences, stop=(stop,) if stop else ())
    request = GenerationRequest(prompts, sampling, seed, stream=stream)
    return Answer(Job(request), decode=decode, ends={END})


def push(row: Row, tokens: bytes | list[int]) -> list[str]:
    return [row.push(token) for token in tokens]


def prompt(max_new: int = 100, *, before: tuple[int, ...] = ()) -> Prompt:
    return Prompt(before or (1,), max_new, continues=bool(before))


def test_a_row_ends_with_the_models_end_token() -> None:
    answer = make_answer(prompt())
    (row,) = answer.rows
    assert push(row, [*b"ab", END, *b"c"]) == ["a", "b", "", ""]
    assert answer.finished() == Finished((("ab",),), (("stop",),), completion_tokens=3)


def test_a_row_ends_when_it_is_as_long_as_it_may_be() -> None:
    answer = make_answer(prompt(max_new=3))
    assert push(answer.rows[0], [*b"abcd"]) == ["a", "b", "c", ""]
    assert answer.finished() == Finished((("abc",),), (("length",),), completion_tokens=3)


def test_what_was_held_back_comes_with_the_last_token() -> None:
    (row,) = make_answer(prompt(max_new=2)).rows
    assert push(row, ["é".encode()[0], ord("a")]) == ["", "\ufffda"]
    (row,) = make_answer(prompt(max_new=2), stop="abc").rows
    assert push(row, b"ab") == ["", "ab"]


def test_a_stop_text_ends_a_row_that_nobody_watches() -> None:
    answer = make_answer(prompt(), stop="bc", stream=False)
    push(answer.rows[0], b"abcd")
    assert answer.finished() == Finished((("a",),), (("stop",),), completion_tokens=3)


def test_a_row_that_nobody_watches_makes_no_pieces() -> None:
    (row,) = make_answer(prompt(max_new=2), stream=False).rows
    assert push(row, b"ab") == ["", ""]
    assert row.text == "ab"


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8]), min_size=1, max_size=60), st.booleans(), st.booleans())
def test_the_text_is_the_same_whether_anybody_watches(tokens: list[int], ends: bool, continues: bool) -> None:
    given_prompt = prompt(len(tokens) + ends, before=(0, 1) if continues else ())
    texts = []
    for stream in (True, False):
        (row,) = make_answer(given_prompt, decode=decode_words, stream=stream).rows
        pieces = push(row, [*tokens, END] if ends else tokens)
        assert row.done
        assert "".join(pieces) == (row.text if stream else "")
        texts.append(row.text)
    assert texts[0] == texts[1]


def test_an_answer_is_done_when_all_its_rows_are() -> None:
    answer = make_answer(prompt(), prompt(max_new=1), sequences=2)
    for number, row in enumerate(answer.rows):
        assert not answer.done
        push(row, [ord("a") + number, END])
    assert answer.done
    assert [(row.index, row.number) for row in answer.rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert answer.finished() == Finished(
        (("a", "b"), ("c", "d")), (("stop", "stop"), ("length", "length")), completion_tokens=6
    )


def test_every_row_has_a_seed_of_its_own_and_a_prompt_the_one_it_would_have_alone() -> None:
    rows = make_answer(prompt(), prompt(), seed=7, sequences=3).rows
    assert len({row.seed for row in rows}) == 6
    assert [row.seed for row in rows[3:]] == [row.seed for row in make_answer(prompt(), seed=8, sequences=3).rows]


def test_the_first_token_is_timed() -> None:
    answer = make_answer(prompt())
    assert answer.job.first_token_s is None
    push(answer.rows[0], b"a")
    first = answer.job.first_token_s
    push(answer.rows[0], b"b")
    assert first is not None
    assert answer.job.first_token_s == first


def test_each_row_is_timed_from_its_first_token_to_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 20.0, 24.0])
    monkeypatch.setattr("services.engine.row.time", SimpleNamespace(monotonic=lambda: next(clock)))
    answer = make_answer(prompt(max_new=3), prompt())
    push(answer.rows[0], b"abc")
    push(answer.rows[1], [*b"a", END, *b"b"])
    assert [row.writing_s for row in answer.rows] == [1.0, 4.0]
    assert answer.finished().writing_s == 5.0


@pytest.mark.parametrize("architecture", ["smollm3", "llama", "mistral", "gpt2", "gpt_neo", "codegen", "blenderbot"])
def test_decoding_is_the_tokenizers_own(tiny: Tiny, architecture: "Architecture") -> None:
    tokenizer = load(tiny, architecture).tokenizer
    decode = make_decode(tokenizer)
    text = " Grüße  from\n a small robot , isn't it ? 😀"
    ids = tokenizer.encode(text)
    for start in range(len(ids)):
        for end in range(start, len(ids) + 1):
            part = ids[start:end]
            assert decode(part) == tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False)
