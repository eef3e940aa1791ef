"""JSON of any size, written without holding up the event loop: a thousand vectors take a tenth of a second."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

LARGE_BYTES = 256 * 1024
"""What a thread writes, and reads: about ten milliseconds of numbers."""

Encode = Callable[[Any], str]

_SCALAR_BYTES = 20


def weight(value: Any) -> int:
    """Roughly the bytes that JSON takes in memory."""
    match value:
        case str():
            return 50 + len(value)
        case dict():
            return sum(50 + len(key) + weight(item) for key, item in value.items())
        case list() | tuple():
            return _SCALAR_BYTES * len(value) if _are_numbers(value) else sum(map(weight, value))
        case _:
            return _SCALAR_BYTES


async def write(value: Any, encode: Encode) -> bytes:
    """The value in UTF-8. encode: as `encode` of a json.JSONEncoder, whose errors are raised."""
    if weight(value) < LARGE_BYTES:
        return encode(value).encode()
    return await asyncio.to_thread(lambda: write_in_pieces(value, encode).encode())


def write_in_pieces(value: Any, encode: Encode) -> str:
    """The same text as at once; between the pieces, a thread that makes it lets others have their turn."""
    return "".join(_pieces(value, encode))


def _pieces(value: Any, encode: Encode) -> Iterator[str]:
    match value:
        case dict() if value:
            begin = "{"
            for key, item in value.items():
                yield f"{begin}{encode(key)}:"
                yield from _pieces(item, encode)
                begin = ","
            yield "}"
        case list() | tuple() if value and not _are_numbers(value):
            begin = "["
            for item in value:
                yield begin
                yield from _pieces(item, encode)
                begin = ","
            yield "]"
        case _:
            yield encode(value)


def _are_numbers(values: list[Any] | tuple[Any, ...]) -> bool:
    return set(map(type, values)) <= {float, int}
