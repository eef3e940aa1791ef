"""Durations and sizes as people write them, each with one parser."""

import re
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)


def duration_s(value: Any) -> float:
    """Seconds of `500ms`, `1s`, `2m`, `1h`, `1d` or a number of seconds.

    Raises ValueError with a phrase that completes "NAME ...".
    """
    return _parse(value, _SECONDS, "s", "a duration such as 30s, 5m or 1h")


def size_bytes(value: Any) -> int:
    """Bytes of `10MB`, `512 KiB` or a number of bytes. Raises ValueError as `duration_s` does."""
    return int(_parse(value, _BYTES, "b", "a size such as 500KB or 10MB"))


def _parse(value: Any, units: dict[str, float] | dict[str, int], base: str, wanted: str) -> float:
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    match = _QUANTITY.fullmatch(text)
    scale = units.get((match[2] or base).lower()) if match else None
    if match is None or scale is None:
        raise ValueError(f"must be {wanted}" + (f", not `{text}`" if text else ""))
    return float(match[1]) * scale
