"""JSON at the doors, read strictly and within limits: `json` alone takes NaN, repeated keys and half characters."""

import json
import math
from typing import Any, NoReturn

from services.errors import ServiceError

MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_VALUES = 100_000

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def to_json(value: Any) -> str:
    """Compact text; raises ValueError for NaN, which must never leave as JSON."""
    return _ENCODER.encode(value)


class Bulk:
    """Counts what a body would become while it comes, so that a small body cannot become a large value."""

    def __init__(self) -> None:
        self._in_text = 0
        """1 where the last piece ended inside a text."""
        self._escape = b""
        """The backslash at the end of the last piece, when it escapes what comes next."""
        self._keys = self._values = self._depth = 0

    def add(self, piece: bytes) -> None:
        """Raises ServiceError 413 for a piece that makes it too deep or too wide; what is not JSON is not noticed."""
        bare = (self._escape + piece).replace(b"\\\\", b"")
        self._escape = b"\\" if bare.endswith(b"\\") else b""
        parts = bare.replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[self._in_text :: 2])
        self._in_text = (self._in_text + len(parts) - 1) % 2
        self._keys += outside.count(b":")
        if self._keys > MAX_KEYS:
            raise _too_large("body_too_wide", f"has more than {MAX_KEYS} keys")
        self._values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        if self._values > MAX_VALUES:
            raise _too_large("body_too_wide", f"has more than {MAX_VALUES} values")
        for bracket in outside.translate(None, _NO_BRACKET):
            self._depth += 1 if bracket in b"[{" else -1
            if self._depth > MAX_DEPTH:
                raise _too_large("body_too_deep", f"nests deeper than {MAX_DEPTH} levels")


def load_body(body: bytearray) -> Any:
    """The value of a whole body, whose Bulk is known; raises ServiceError 400. It empties the body, to hold it once."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(f"byte {error.start} is not UTF-8") from None
    body.clear()
    try:
        value = _STRICT.decode(text)
        _check_characters(text, value)
    except json.JSONDecodeError as error:
        raise _unreadable(
            f"{_PHRASES.get(error.msg, 'not JSON')} at line {error.lineno}, column {error.colno}"
        ) from None
    except UnicodeEncodeError:
        raise _unreadable("a \\u escape is half of a surrogate pair") from None
    except OverflowError as error:
        raise _unreadable(f"{error} is not a finite number") from None
    except ValueError as error:
        raise _unreadable(str(error) if isinstance(error, _RepeatedKeyError) else "a number is too long") from None
    return value


def loads_finite(line: bytes) -> Any:
    """Plain JSON; raises OverflowError for NaN and Infinity, ValueError for what is not JSON."""
    text = line.decode("utf-8")
    value = _FINITE.decode(text)
    _check_characters(text, value)
    return value


class _RepeatedKeyError(ValueError):
    """A key stands twice in one object."""


def _check_characters(text: str, value: Any) -> None:
    """Raises UnicodeEncodeError for half of a surrogate pair, which only an escape can bring in."""
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKeyError(f'the key "{repeated[:80]}" stands twice')
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise OverflowError(text[:40])
    return number


def _refuse(text: str) -> NoReturn:
    raise OverflowError(text)


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)
_FINITE = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)

_PHRASES = {
    "Expecting value": "a value is missing",
    "Expecting property name enclosed in double quotes": "a name in double quotes is missing",
    "Illegal trailing comma before end of object": "a comma is too much",
    "Illegal trailing comma before end of array": "a comma is too much",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting ',' delimiter": "a comma is missing",
    "Unterminated string starting at": "a text is not closed, starting",
    "Invalid control character at": "a control character stands in a text",
    "Extra data": "something follows the value",
}
"""Our words for the faults that `json` tells apart."""


def _unreadable(why: str) -> ServiceError:
    return ServiceError(400, "invalid_json", f"The body cannot be read as JSON: {why}.")


def _too_large(code: str, why: str) -> ServiceError:
    return ServiceError(413, code, f"The body {why}.", hint="Send less at once.")
