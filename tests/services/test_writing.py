"""Large JSON is written beside the event loop, and is the same text."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.values import to_json
from services.wire import encode_text
from services.writing import LARGE_BYTES, weight, write, write_in_pieces

pytestmark = pytest.mark.unit

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(VALUES)
def test_pieces_make_the_same_text(value: Any) -> None:
    assert write_in_pieces(value, encode_text) == encode_text(value)


def test_a_number_that_is_not_finite_is_refused_in_pieces_too() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_in_pieces({"rows": [[1.0], [float("nan")]]}, to_json)


def test_the_event_loop_goes_on_while_a_large_value_is_written() -> None:
    vectors = [[0.5] * 384] * 100
    assert weight(vectors) > LARGE_BYTES

    async def write_beside() -> bytes:
        loop_turned = threading.Event()

        def encode(value: Any) -> str:
            assert loop_turned.wait(10), "the event loop stands still"
            return encode_text(value)

        asyncio.get_running_loop().call_soon(loop_turned.set)
        return await write(vectors, encode)

    assert asyncio.run(write_beside()) == encode_text(vectors).encode()


def test_a_small_value_is_written_at_once() -> None:
    callers = []

    def encode(value: Any) -> str:
        callers.append(threading.current_thread())
        return encode_text(value)

    assert asyncio.run(write({"text": "short"}, encode)) == b'{"text":"short"}'
    assert callers == [threading.current_thread()]


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [
        ([0.5, 1], 40),
        ([0.5, "long text"], 79),
        ({"key": None}, 73),
        ([[0.5] * 384] * 3, 20 * 384 * 3),
    ],
)
def test_weight_counts_every_text(value: Any, bytes_: int) -> None:
    assert weight(value) == bytes_
