"""Who reads next, how much, and who has room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.continuous.scheduler import CHUNK_S, FEWEST, MOST, Limits, Pace, bounded, next_chunk

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("left", "tokens", "chosen"),
    [
        ([10], 100, ([0], 10)),
        ([500], 100, ([0], 100)),
        ([500, 10], 100, ([0], 100)),
        ([10, 500, 11, 9], 100, ([0, 2, 3], 11)),
        ([10, 30, 31, 32], 1000, ([0], 10)),
        ([20, 29, 30, 28], 1000, ([0, 1, 2, 3], 30)),
        ([20, 20, 20, 20], 50, ([0, 1], 20)),
        ([60, 90, 90], 100, ([0], 60)),
    ],
    ids=[
        "alone",
        "the beginning of a long one",
        "a long one keeps its turn",
        "those about as long",
        "padding would be most of it",
        "up to half as long again",
        "as many as there is room for",
        "a longer neighbour would leave no room",
    ],
)
def test_the_next_chunk(left: list[int], tokens: int, chosen: tuple[list[int], int]) -> None:
    assert next_chunk(left, tokens) == chosen


@given(left=st.lists(st.integers(1, 3000), min_size=1, max_size=40), tokens=st.integers(FEWEST, MOST))
def test_a_chunk_keeps_within_its_tokens_and_the_first_row_always_reads(left: list[int], tokens: int) -> None:
    chosen, width = next_chunk(left, tokens)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert width * len(chosen) <= tokens
    assert len(chosen) == 1 or max(left[index] for index in chosen) == width


def test_rows_fit_as_long_as_their_rectangle_does() -> None:
    limits = Limits(rows=4, tokens=100)
    assert [limits.hold(*each) for each in [(4, 25), (4, 26), (5, 1), (1, 100), (1, 101)]] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_chunks_come_to_take_the_time_they_may() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens / 1000)
    assert pace.tokens == pytest.approx(1000 * CHUNK_S, rel=0.05)
    pace.note(pace.tokens // 5, 60.0)
    assert pace.tokens == pytest.approx(1000 * CHUNK_S, rel=0.05)
    for _ in range(20):
        pace.note(pace.tokens, 60.0)
    assert pace.tokens == FEWEST
    for _ in range(20):
        pace.note(pace.tokens, 0.0)
    assert pace.tokens == MOST


def test_the_further_a_prompt_is_read_the_smaller_its_chunks_are() -> None:
    assert [bounded(2048, behind) for behind in (0, 2048, 16384, 10**7)] == [2048, 2048, 256, FEWEST]
    assert bounded(100, 16384) == 100
