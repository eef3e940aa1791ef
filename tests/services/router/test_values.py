"""Bodies are read strictly: what is not JSON, or too much of it, is refused before it becomes a value."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.values import Bulk, load_body, loads_finite

pytestmark = pytest.mark.unit

DEEP = 64


def load(body: bytes, *cuts: int) -> Any:
    """The value of a body that comes in pieces, cut at these places."""
    bulk = Bulk()
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        bulk.add(body[start:end])
    return load_body(bytearray(body))


UNREADABLE: list[bytes] = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b"{]",
    b"[1,]",
    b'{"a":}',
    b'{"a" 1}',
    b"{'a': 1}",
    b"{a: 1}",
    b'{"a": 1} x',
    b'{"a": 1}{"b": 2}',
    b'{"a": "',
    b'{"a": "\\',
    b'{"a": "\\x"}',
    b'{"a": "\\u12"}',
    b'{"a": "\n"}',
    b'{"a": tru}',
    b"True",
    b"undefined",
    b"// comment\n{}",
    b"NaN",
    b'{"a": NaN}',
    b'{"a": [Infinity]}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": 01}',
    b'{"a": .5}',
    b'{"a": +1}',
    b'{"a": 0x10}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": 1, "a": 2}',
    b'{"o": {"a": 1, "a": 2}}',
    b'{"\\u0061": 1, "a": 2}',
    b"\xff",
    b'{"a": "\xff"}',
    b'{"a": "\xc3"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xc0\xaf"}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\udc00\\ud800"}',
    b'{"\\udfff": 1}',
    b"\xef\xbb\xbf{}",
    '{"a": 1}'.encode("utf-16"),
    b"\x00",
    b'{"a": "\x00"}',
    b"<xml/>",
    b"a=b&c=d",
    b"--boundary",
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_what_is_not_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(ServiceError) as refused:
        load(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


TOO_MUCH: list[bytes] = [
    b"[" * (DEEP + 1) + b"]" * (DEEP + 1),
    b'{"a":' * (DEEP + 1) + b"1" + b"}" * (DEEP + 1),
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"{" + b",".join(b'"k%d":1' % index for index in range(10_001)) + b"}",
    b"[" + b",".join(b'{"k":1}' for _ in range(10_001)) + b"]",
    b"[" + b"1," * 200_000 + b"1]",
    b"[" + b"[]," * 200_000 + b"[]]",
]


@pytest.mark.parametrize("body", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_what_is_too_much_is_refused_before_it_is_built(body: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceError) as refused:
        load(body)
    assert refused.value.status == 413
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"a": 1,}', "The body cannot be read as JSON: a name in double quotes is missing at line 1, column 9."),
        (b'{"a": NaN}', "The body cannot be read as JSON: NaN is not a finite number."),
        (b'{"a": 1, "a": 2}', 'The body cannot be read as JSON: the key "a" stands twice.'),
        (b'{"a": "\xff"}', "The body cannot be read as JSON: byte 7 is not UTF-8."),
        (b'"\\ud800"', "The body cannot be read as JSON: a \\u escape is half of a surrogate pair."),
        (b"[" * 65 + b"]" * 65, "The body nests deeper than 64 levels."),
    ],
)
def test_the_sentence_says_what_and_where(body: bytes, sentence: str) -> None:
    with pytest.raises(ServiceError) as refused:
        load(body)
    assert refused.value.message == sentence


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "x"]},
        'text with {[(brackets)]}, "quotes", \\ and commas,,,: {"a": 1}',
        {"a": "[" * 1000, "b": "," * 200_000, "c": ":" * 20_000},
        "\u2028 \U0001f600 \x7f",
        -(2**70),
    ],
)
def test_what_is_json_is_read(value: Any) -> None:
    assert load(json.dumps(value).encode()) == value
    assert load(json.dumps(value, ensure_ascii=False).encode()) == value


def test_the_deepest_allowed_value_is_read() -> None:
    load(b"[" * DEEP + b"]" * DEEP)


def test_an_unclosed_text_full_of_escapes_takes_no_time() -> None:
    body = b'"' + b'\\"' * 1_000_000
    began = time.monotonic()
    with pytest.raises(ServiceError):
        load(body)
    assert time.monotonic() - began < 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON, st.data())
def test_any_value_survives_in_any_pieces(value: Any, data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    assert load(body, *sorted(data.draw(st.lists(st.integers(0, len(body)))))) == value


@given(st.lists(st.sampled_from(['"', "\\", '\\"', "[", "]", "{", ":", ",", "a"])), st.data())
def test_what_stands_in_a_text_does_not_count(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts) * 40
    body = json.dumps([text, [[text]]]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)))))
    assert load(b"[" * (DEEP - 3) + body + b"]" * (DEEP - 3), *(cut + DEEP - 3 for cut in cuts))
    with pytest.raises(ServiceError) as refused:
        load(b"[" * (DEEP - 2) + body + b"]" * (DEEP - 2), *(cut + DEEP - 2 for cut in cuts))
    assert refused.value.code == "body_too_deep"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_refusal(body: bytes) -> None:
    with suppress(ServiceError):
        load(body)


@pytest.mark.parametrize("line", [b'{"a": NaN}', b'{"a": 1e999}'])
def test_a_number_that_is_not_finite_is_told_apart(line: bytes) -> None:
    with pytest.raises(OverflowError):
        loads_finite(line)


@pytest.mark.parametrize(
    ("line", "error"),
    [(b"{", json.JSONDecodeError), (b"\xff", UnicodeDecodeError), (b'{"a": "\\ud800"}', UnicodeEncodeError)],
)
def test_a_broken_line_is_a_value_error(line: bytes, error: type[ValueError]) -> None:
    with pytest.raises(error):
        loads_finite(line)
