"""Generators that surely do what their closing must do: Python runs no `finally` of one that has not begun."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Closing(AsyncGenerator[T_co, None]):
    """An async generator that calls `on_close` when it is closed, even before its first step.

    Whoever closes it twice has `on_close` called twice.
    """

    def __init__(self, steps: AsyncGenerator[T_co, None], on_close: Callable[[], None]) -> None:
        self._steps = steps
        self._on_close = on_close

    def __anext__(self) -> Coroutine[Any, Any, T_co]:
        return self._steps.__anext__()

    def asend(self, value: None) -> Coroutine[Any, Any, T_co]:
        return self._steps.asend(value)

    def athrow(self, *error: Any) -> Coroutine[Any, Any, T_co]:
        return self._steps.athrow(*error)

    async def aclose(self) -> None:
        self._on_close()
        await self._steps.aclose()
