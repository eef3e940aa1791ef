"""Closing always does what it must: before the first step, in the middle, and behind the end."""

from collections.abc import AsyncGenerator

import pytest

from services.closing import Closing

pytestmark = pytest.mark.unit


async def count(ended: list[str]) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    except KeyError:
        yield 3
    finally:
        ended.append("generator")


@pytest.mark.parametrize(
    ("steps", "said"),
    [(0, ["closed"]), (1, ["closed", "generator"]), (3, ["generator", "closed"])],
)
async def test_closing_is_told_whatever_was_read(steps: int, said: list[str]) -> None:
    heard: list[str] = []
    numbers = Closing(count(heard), lambda: heard.append("closed"))
    for _ in range(steps):
        await anext(numbers, None)
    await numbers.aclose()
    assert heard == said
    assert [number async for number in numbers] == []


def nothing() -> None:
    """On closing."""


async def test_everything_else_is_the_generators_own() -> None:
    numbers = Closing(count([]), nothing)
    assert [await anext(numbers), await numbers.asend(None)] == [1, 2]
    assert await numbers.athrow(KeyError()) == 3
    assert [number async for number in Closing(count([]), nothing)] == [1, 2]
