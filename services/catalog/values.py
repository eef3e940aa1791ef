"""How what a file or a client gives becomes a value of some kind; text that reads as it is accepted.

Each reader raises ValueError with a phrase that completes "NAME ...", such as "must be a number, not 'warm'".
"""

import json
import math
from collections.abc import Callable
from typing import Any

ROLES = ("system", "user", "assistant")


def shown(number: float) -> str:
    """As people write it: 7 for 7.0."""
    return f"{number:.15g}" if isinstance(number, float) else str(number)


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"must be text, not {kind_of(value)}")


def _integer(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"must be a whole number, not {value!r}") from None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        written = shown(value) if isinstance(value, float) else kind_of(value)
        raise ValueError(f"must be a whole number, not {written}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, not {kind_of(value)}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"must be a number, not {value!r}") from None
    except OverflowError:
        raise ValueError("must be a number of reasonable size") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"must be true or false, not {value!r}" if isinstance(value, str) else "must be true or false")


def _messages(value: Any) -> list[dict[str, str]]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("must hold at least one message")
    return [_message(item) for item in items]


def _documents(value: Any) -> list[str | dict[str, Any]]:
    """Texts, or objects that hold one; a text that reads as such a list is one."""
    items = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("must be a list of texts or of objects, not text") from None
    if not isinstance(items, list):
        raise ValueError(f"must be a list of texts or of objects, not {kind_of(items)}")
    return [
        item if isinstance(item, dict) else _item(item, index, "texts or objects") for index, item in enumerate(items)
    ]


def _item(value: Any, index: int, wanted: str) -> str:
    """One text of a list of those that are wanted."""
    try:
        return _text(value)
    except ValueError:
        raise ValueError(f"must hold {wanted} only, and [{index}] is {kind_of(value)}") from None


def _texts(values: list[Any]) -> list[str]:
    return [_item(value, index, "texts") for index, value in enumerate(values)]


def _message(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be messages of role and content, not {kind_of(value)}")
    if value.keys() - {"role", "content"}:
        raise ValueError(f"has a message with an unknown key {min(value.keys() - {'role', 'content'})!r}")
    if value.get("role") not in ROLES:
        raise ValueError(f"has a message whose role is not one of {', '.join(ROLES)}")
    if value.get("content") is None:
        raise ValueError(f"has a {value['role']} message without content")
    return {"role": value["role"], "content": _text(value["content"])}


def _text_or_list(value: Any) -> str | list[str]:
    return _texts(value) if isinstance(value, list) else _text(value)


def _text_list(value: Any) -> list[str]:
    return _texts(value) if isinstance(value, list) else [_text(value)]


def _early_stopping(value: Any) -> bool | str:
    return "never" if value == "never" else _boolean(value)


def _seed(value: Any) -> int | str:
    return "random" if value == "random" else _integer(value)


READERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "text-or-list": _text_or_list,
    "text-list": _text_list,
    "messages": _messages,
    "documents": _documents,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "early-stopping": _early_stopping,
    "seed": _seed,
}
"""The reader of each kind whose values need no more than it."""
