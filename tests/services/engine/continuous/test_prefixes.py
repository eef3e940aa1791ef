"""Beginnings that prompts share are found again, block by block, within a bound of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.continuous.prefixes import BLOCK, Prefixes, shared

pytestmark = pytest.mark.unit

Ids = tuple[int, ...]
SIZE = 10
"""Bytes of a block in these tests."""


def keep(prefixes: Prefixes[Ids], ids: Ids) -> list[Ids]:
    """Keeps a prompt whose blocks are simply its tokens up to there; returns the blocks that were copied."""
    copied = []

    def copy(_start: int, stop: int) -> tuple[Ids, int]:
        copied.append(ids[:stop])
        return ids[:stop], SIZE

    prefixes.keep(ids, copy)
    return copied


def prompt(*blocks: int, rest: int = 1) -> Ids:
    """Blocks of one repeated token each, and some tokens more."""
    return tuple(block for block in blocks for _ in range(BLOCK)) + (0,) * rest


def test_a_shared_beginning_is_found_and_copied_once() -> None:
    prefixes = Prefixes[Ids](100)
    assert keep(prefixes, prompt(1, 2, 3)) == [prompt(1, rest=0), prompt(1, 2, rest=0), prompt(1, 2, 3, rest=0)]
    assert keep(prefixes, prompt(1, 2, 4)) == [prompt(1, 2, 4, rest=0)]
    assert prefixes.find(prompt(1, 2, 4, 5)) == [
        prompt(1, rest=0),
        prompt(1, 2, rest=0),
        prompt(1, 2, 4, rest=0),
    ]
    assert prefixes.find(prompt(2, 1)) == []


def test_the_last_token_is_always_left_to_read() -> None:
    prefixes = Prefixes[Ids](100)
    keep(prefixes, prompt(1, 2, rest=0))
    assert prefixes.find(prompt(1, 2, rest=0)) == [prompt(1, rest=0)]
    assert prefixes.find(prompt(1, 2)) == [prompt(1, rest=0), prompt(1, 2, rest=0)]


@pytest.mark.parametrize(
    ("ids", "others", "count"),
    [
        (prompt(1, 2, 3), prompt(1, 2, 4), 2),
        (prompt(1, 2), prompt(1, 2), 2),
        (prompt(1, 2, rest=0), prompt(1, 2, 3), 1),
        (prompt(1, 2), prompt(1, 2, rest=0), 2),
        (prompt(1), prompt(2), 0),
        (prompt(1), prompt(), 0),
        (prompt(), prompt(1), 0),
    ],
)
def test_two_prompts_share_whole_blocks_and_leave_a_token_to_read(ids: Ids, others: Ids, count: int) -> None:
    assert [shared(ids, others, known * BLOCK) for known in range(count + 1)] == [count * BLOCK] * (count + 1)


def test_a_block_is_dropped_before_those_that_lead_to_it() -> None:
    prefixes = Prefixes[Ids](3 * SIZE)
    keep(prefixes, prompt(1, 2, 3))
    keep(prefixes, prompt(4))
    assert prefixes.find(prompt(1, 2, 3)) == [prompt(1, rest=0), prompt(1, 2, rest=0)]
    assert prefixes.find(prompt(4)) == [prompt(4, rest=0)]


def test_what_is_used_stays() -> None:
    prefixes = Prefixes[Ids](2 * SIZE)
    keep(prefixes, prompt(1))
    keep(prefixes, prompt(2))
    prefixes.find(prompt(1))
    keep(prefixes, prompt(3))
    assert [bool(prefixes.find(prompt(block))) for block in (1, 2, 3)] == [True, False, True]


def test_a_prompt_longer_than_the_bound_keeps_its_beginning() -> None:
    prefixes = Prefixes[Ids](2 * SIZE)
    keep(prefixes, prompt(1, 2, 3))
    assert prefixes.find(prompt(1, 2, 3)) == [prompt(1, rest=0), prompt(1, 2, rest=0)]
    nothing = Prefixes[Ids](SIZE - 1)
    keep(nothing, prompt(1))
    assert (len(nothing), nothing.find(prompt(1))) == (0, [])


@given(st.lists(st.tuples(st.lists(st.integers(1, 3), max_size=5), st.integers(0, BLOCK)), max_size=30))
def test_whatever_comes_what_is_found_is_a_beginning_and_the_bound_holds(prompts: list[tuple[list[int], int]]) -> None:
    prefixes = Prefixes[Ids](4 * SIZE)
    for blocks, rest in prompts:
        ids = prompt(*blocks, rest=rest)
        found = prefixes.find(ids)
        assert found == [ids[: (index + 1) * BLOCK] for index in range(len(found))]
        assert len(found) * BLOCK < max(1, len(ids))
        keep(prefixes, ids)
        assert prefixes.size == len(prefixes) * SIZE <= 4 * SIZE
        whole = len(ids) // BLOCK
        findable = (len(ids) - 1) // BLOCK if ids else 0
        assert len(prefixes.find(ids)) == min(whole, findable, 4)
    prefixes.clear()
    assert (prefixes.size, len(prefixes)) == (0, 0)
