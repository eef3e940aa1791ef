"""Comparisons hold as JSON would say, numbers also as text; no pattern can hold up the router."""

import asyncio
import re
import time
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.execution.conditions import LONGEST_PATTERN, compare, compiled, equal, holds
from services.router.expression import compile_tree
from services.router.graph import Combine, Compare
from services.router.settings import Operator

pytestmark = pytest.mark.unit

SLOW = "(a|aa)+b"
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 1.0, -0.0, 10**400, "1", " 1.0", "0", "true", "", "a", [1], {"a": 1}]
)


@pytest.mark.parametrize(
    ("left", "operator", "right", "expected"),
    [
        (5, "eq", 5.0, True),
        (5, "eq", "5", True),
        (" 5.0", "eq", 5, True),
        ("5", "eq", "5.0", False),
        ("a", "eq", "a", True),
        ("a", "eq", "A", False),
        (True, "eq", 1, False),
        (True, "eq", "true", False),
        (True, "eq", True, True),
        (None, "eq", None, True),
        (None, "eq", "", False),
        ("", "eq", 0, False),
        ({"a": [1]}, "eq", {"a": [1]}, True),
        (5, "neq", "6", True),
        (None, "neq", "x", True),
        (10, "gt", "9", True),
        ("10", "gt", "9", True),
        ("b", "gt", "a", True),
        ("10", "gt", "a", False),
        (5, "gte", 5, True),
        (4, "lt", 5, True),
        ("1e3", "lte", 1000, True),
        (None, "lt", 5, False),
        (None, "gte", None, False),
        (True, "gt", 0, False),
        ([1], "gt", [0], False),
        ("9" * 5000, "gt", 1, False),
        ("inf", "gt", 1, False),
        (10**400, "gt", 1.5, True),
        ("9" * 400, "gte", 10**399, True),
        (10**400, "eq", 1.5, False),
        (10**400, "eq", "a", False),
        ("b", "in", ["a", "b"], True),
        ("1", "in", [1], True),
        (True, "in", [1], False),
        ("ell", "in", "hello", True),
        ("a", "in", {"a": 1}, True),
        (1, "in", 12, False),
        (None, "in", "None", False),
        ("c", "not-in", ["a"], True),
        ("x", "not-in", None, True),
        ("hello", "starts-with", "he", True),
        (1234, "starts-with", 12, True),
        ("hello", "ends-with", "lo", True),
        (None, "ends-with", "", False),
        (["a"], "starts-with", "a", False),
        ("hello", "match", "h.l", True),
        ("hello", "match", "ello", False),
        (2024, "match", r"\d{4}$", True),
        (None, "match", ".*", False),
        ("日本", "match", r"\w+$", True),
    ],
)
async def test_operators(left: Any, operator: str, right: Any, expected: bool) -> None:
    assert await compare(operator, left, right) is expected


@pytest.mark.parametrize("operator", get_args(Operator))
async def test_no_values_break_an_operator(operator: str) -> None:
    values: list[Any] = [None, True, 0, 1.5, float("nan"), "", "a", "1", [], [1], {}, {"a": None}, "\ud800"]
    for left in values:
        for right in values:
            assert isinstance(await compare(operator, left, right), bool)


SCOPE = {"input": {"n": 5, "name": "ada"}}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Compare(compile_tree("${input.n}"), "gt", 4), True),
        (Compare(None, "eq", compile_tree("${input.name}")), False),
        (Compare(None, "eq", "own"), True),
        (Combine("all", (Compare(None, "eq", "own"), Compare(None, "eq", "other"))), False),
        (Combine("any", (Compare(None, "eq", "other"), Compare(None, "eq", "own"))), True),
        (Combine("any", ()), False),
        (Combine("all", ()), True),
        (Combine("not", (Compare(None, "eq", "other"),)), True),
        (Combine("not", (Combine("all", (Compare(None, "neq", "x"),)),)), False),
    ],
)
async def test_conditions_combine(condition: Any, expected: bool) -> None:
    assert await holds(condition, SCOPE, "own") is expected


async def test_a_value_that_decides_leaves_the_rest_alone() -> None:
    broken = Compare(compile_tree("${input.name as integer}"), "eq", 1)
    assert await holds(Combine("any", (Compare(None, "eq", "own"), broken)), SCOPE, "own")
    with pytest.raises(ServiceError, match="'ada' is not a whole number"):
        await holds(broken, SCOPE, "own")


async def test_a_pattern_that_explodes_is_given_up_and_holds_nobody_up() -> None:
    longest_gap_s = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest_gap_s
        while not done.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest_gap_s = max(longest_gap_s, time.monotonic() - began)

    watching = asyncio.create_task(watch())
    with pytest.raises(ServiceError) as caught:
        await compare("match", "a" * 50_000, SLOW)
    done.set()
    await watching
    assert (caught.value.status, caught.value.code) == (422, "pattern_too_slow")
    assert longest_gap_s < 0.5


@given(left=SCALARS, items=st.lists(SCALARS, max_size=4))
def test_an_item_is_in_a_list_when_it_equals_one_of_it(left: Any, items: list[Any]) -> None:
    assert asyncio.run(compare("in", left, items)) == any(equal(left, item) for item in items)


async def test_a_pattern_that_needs_too_much_memory_is_told_like_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hungry:
        pattern = "(.)*"

        def match(self, *_: object, **__: object) -> None:
            raise MemoryError

    monkeypatch.setattr("services.router.execution.conditions.compiled", lambda _: Hungry())
    with pytest.raises(ServiceError) as caught:
        await compare("match", "a" * 200_000, "(.)*")
    assert (caught.value.status, caught.value.code) == (422, "pattern_too_slow")


@pytest.mark.parametrize("pattern", [r"\(?R", "(?:R)", "(?P<R>a)(?P=R)", "(a)(?(1)b)", "(?=1)?a", "(?i)a", "(?-i:a)"])
def test_what_only_looks_like_a_call_of_a_pattern_is_read(pattern: str) -> None:
    assert compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "`(a` cannot be read as a regular expression from its character 3 on"),
        ("a" * (LONGEST_PATTERN + 1), "the pattern is longer than 1000 characters"),
        ("a(?R)?b", "`a(?R)?b` calls itself, which is not possible here"),
        ("(?P<n>a(?&n)?b)", "`(?P<n>a(?&n)?b)` calls itself, which is not possible here"),
        ("(" * 490 + ")" * 490, f"`{'(' * 80}` is too large for a regular expression"),
    ],
)
async def test_a_pattern_that_is_none_is_named(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        compiled(pattern)
    with pytest.raises(ServiceError) as refused:
        await compare("match", "a", pattern)
    assert (refused.value.status, refused.value.message) == (422, f"A `match` cannot be made: {message}.")
