"""Text comes in whole characters, its pieces join to the whole, and stop texts never leak."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from services.engine.text import StopText, TextStream

pytestmark = pytest.mark.unit


def decode_bytes(ids: list[int]) -> str:
    """A vocabulary of bytes, as byte-level tokenizers decode."""
    return bytes(ids).decode("utf-8", errors="replace")


def decode_words(ids: list[int]) -> str:
    """A vocabulary of words with a mark for the space, the first of which is stripped, as SentencePiece decodes."""
    return METASPACE.decode(ids)


WORDS = ["▁Once", "▁upon", "on", "▁a", "▁time", "<0xC3>", "<0xA4>", "▁", "!"]
METASPACE = Tokenizer(models.BPE({word: index for index, word in enumerate(WORDS)}, [], byte_fallback=True))
METASPACE.decoder = decoders.Sequence(
    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)


def collect(stream: TextStream, ids: list[int]) -> list[str]:
    return [*(stream.push(token) for token in ids), stream.finish()]


@given(st.text())
def test_pieces_of_any_text_are_whole_characters(text: str) -> None:
    pieces = collect(TextStream(decode_bytes), list(text.encode("utf-8", errors="replace")))
    assert "".join(pieces) == text.encode("utf-8", errors="replace").decode()


@given(st.binary(max_size=80))
def test_pieces_of_any_bytes_join_to_the_whole(data: bytes) -> None:
    assert "".join(collect(TextStream(decode_bytes), list(data))) == decode_bytes(list(data))


def test_an_emoji_comes_in_one_piece() -> None:
    assert collect(TextStream(decode_bytes), list("a😀b".encode())) == ["a", "", "", "", "😀", "b", ""]


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    assert collect(TextStream(decode_bytes), list("é".encode()[:1])) == ["", "\ufffd"]


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 8]), max_size=60))
def test_words_keep_their_spaces(ids: list[int]) -> None:
    assert "".join(collect(TextStream(decode_words), ids)) == decode_words(ids)


def test_a_continuation_keeps_its_leading_space() -> None:
    assert collect(TextStream(decode_words, before=[0, 1]), [3, 4]) == [" a", " time", ""]
    assert collect(TextStream(decode_words), [3, 4]) == ["a", " time", ""]


def test_bytes_that_make_a_character_between_words() -> None:
    assert collect(TextStream(decode_words), [0, 5, 6, 8]) == ["Once", "", "ä", "!", ""]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(["Hello END there"], "Hello ", id="in one piece"),
        pytest.param(["Hello E", "N", "D there", " and more"], "Hello ", id="over several"),
        pytest.param(["Hello E", "NT"], "Hello ENT", id="a false alarm"),
        pytest.param(["Hello E", "N"], "Hello EN", id="half of it at the end"),
        pytest.param(["a STOP b END"], "a ", id="the first of two"),
        pytest.param(["END"], "", id="at once"),
    ],
)
def test_stop_texts(pieces: list[str], expected: str) -> None:
    stop = StopText(["END", "STOP"])
    assert "".join(map(stop.push, pieces)) + stop.finish() == expected


@given(st.lists(st.text("abc", max_size=4)), st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3))
def test_what_passes_is_the_text_before_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    cuts = [cut for cut in map(whole.find, stops) if cut >= 0]
    stop = StopText(stops)
    passed = [*map(stop.push, pieces), stop.finish()]
    assert "".join(passed) == (whole[: min(cuts)] if cuts else whole)


def test_a_stream_says_when_it_stopped() -> None:
    stream = TextStream(decode_bytes, stop=["b"])
    assert [stream.push(token) for token in b"ab"] == ["a", ""]
    assert stream.stopped
