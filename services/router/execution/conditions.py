"""Whether a condition of the file holds for values of a run."""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import regex

from services.errors import ServiceError
from services.router.execution.fields import render_input
from services.router.expression import Tree
from services.router.graph import Combine, Compare, Condition

LONGEST_PATTERN = 1000
"""Characters."""
_LONGEST_AT_ONCE = 100_000
_AT_ONCE_S = 0.002
"""How long a text, and a match, may be without a thread of its own: what else the router does waits meanwhile."""
_AT_MOST_S = 1.0
_MATCHERS = ThreadPoolExecutor(2, "match")
"""Few, so that slow patterns take neither all cores nor the threads that others need."""

_RECURSION = re.compile(r"(?<!\\)\(\?(?:R|&|P>|[+-]?\d)")
"""Takes a gigabyte within the second that a match has."""
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_LONGEST_NUMBER = 400


async def holds(condition: Condition, scope: Mapping[str, Any], own: Any) -> bool:
    """own: what a comparison without an input of its own compares. Raises ServiceError."""
    if isinstance(condition, Compare):
        left = own if condition.input is None else _rendered(condition.input, scope)
        return await compare(condition.operator, left, _rendered(condition.value, scope))
    return await _combined(condition, scope, own)


async def _combined(condition: Combine, scope: Mapping[str, Any], own: Any) -> bool:
    decisive = condition.how != "all"
    for part in condition.conditions:
        if await holds(part, scope, own) is decisive:
            return condition.how == "any"
    return condition.how != "any"


async def compare(operator: str, left: Any, right: Any) -> bool:
    """`left operator right`; values that cannot be compared fulfil only the negative operators.

    Raises ServiceError 422 for a pattern that is none, or that takes too long.
    """
    if operator == "match":
        return await _matches(left, right)
    return _OPERATORS[operator](left, right)


def equal(left: Any, right: Any) -> bool:
    """As JSON compares, but a number also equals text that reads as it."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) != isinstance(right, str):
        number, other = _number(left), _number(right)
        return number is not None and number == other
    return bool(left == right)


def compiled(pattern: str) -> "regex.Pattern[str]":
    """The pattern, ready for use. Raises ValueError with a sentence for one that is too long or cannot be read."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the pattern is longer than {LONGEST_PATTERN} characters")
    if _RECURSION.search(pattern):
        raise ValueError(f"`{pattern[:80]}` calls itself, which is not possible here")
    return _compiled(pattern)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(pattern)
    except regex.error as error:
        where = f" from its character {error.pos + 1} on" if error.pos is not None else ""
        raise ValueError(f"`{pattern[:80]}` cannot be read as a regular expression{where}") from None
    except (RecursionError, OverflowError, MemoryError):
        raise ValueError(f"`{pattern[:80]}` is too large for a regular expression") from None


async def _matches(left: Any, right: Any) -> bool:
    text = _plain_text(left)
    if text is None:
        return False
    try:
        pattern = compiled(right if isinstance(right, str) else _plain_text(right) or "")
    except ValueError as error:
        raise ServiceError(422, "invalid_pattern", f"A `match` cannot be made: {error}.") from None
    if len(text) <= _LONGEST_AT_ONCE:
        with suppress(TimeoutError):
            return pattern.match(text, timeout=_AT_ONCE_S) is not None
    try:
        match = partial(pattern.match, text, timeout=_AT_MOST_S, concurrent=True)
        return await asyncio.get_running_loop().run_in_executor(_MATCHERS, match) is not None
    except (TimeoutError, MemoryError):
        raise ServiceError(
            422,
            "pattern_too_slow",
            f"The pattern `{pattern.pattern[:80]}` needs over {_AT_MOST_S:g} s, or too much memory, for this text.",
            hint="Avoid a repetition inside a repetition, such as `(a+)+`.",
        ) from None


def _rendered(tree: Tree, scope: Mapping[str, Any]) -> Any:
    return render_input(tree, scope, "condition")


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER or not _NUMBER.fullmatch(value):
            return None
        value = float(value) if value.strip().strip("+-0123456789") else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value  # an int may be too long to ask


def _plain_text(value: Any) -> str | None:
    """What text operators see: text, and a number as it is written."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ordered(is_so: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Numbers and numeric text as numbers, else two texts by their letters."""

    def compare_two(left: Any, right: Any) -> bool:
        number, other = _number(left), _number(right)
        if number is not None and other is not None:
            return is_so(number, other)
        return isinstance(left, str) and isinstance(right, str) and is_so(left, right)

    return compare_two


def _is_in(left: Any, right: Any) -> bool:
    """An item of a list, a name of an object, a part of a text."""
    if isinstance(right, list):
        return _is_item(left, right)
    text = _plain_text(left)
    return text is not None and isinstance(right, dict | str) and text in right


def _is_item(left: Any, items: list[Any]) -> bool:
    """Whether `equal` holds for one of them; a text is read as a number once, because there may be many items."""
    if not isinstance(left, str):
        return any(equal(left, item) for item in items)
    number = _number(left)
    return left in items or (
        number is not None and any(equal(number, item) for item in items if not isinstance(item, str))
    )


def _by_text(is_so: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def compare_two(left: Any, right: Any) -> bool:
        text, other = _plain_text(left), _plain_text(right)
        return text is not None and other is not None and is_so(text, other)

    return compare_two


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "neq": lambda left, right: not equal(left, right),
    "gt": _ordered(lambda left, right: left > right),
    "gte": _ordered(lambda left, right: left >= right),
    "lt": _ordered(lambda left, right: left < right),
    "lte": _ordered(lambda left, right: left <= right),
    "in": _is_in,
    "not-in": lambda left, right: not _is_in(left, right),
    "starts-with": _by_text(str.startswith),
    "ends-with": _by_text(str.endswith),
}
