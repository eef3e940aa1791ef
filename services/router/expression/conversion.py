"""The types behind `as` in an expression: what they are called, and how a value becomes one."""

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from services.errors import ServiceError
from services.router.values import Bulk, loads_finite

ALIASES = {"string": "text", "int": "integer", "float": "number", "bool": "boolean"}
MEDIA = ("image", "audio", "video", "file")
MEDIA_FORMATS = ("base64", "url", "path")
STREAM_FORMATS: Mapping[str | None, Literal["text", "json"]] = {"sse-text": "text", "sse-json": "json"}

_TYPE = re.compile(r"([\w-]+)(\[\])?(?:/([^;]*))?(?:;\s*([\w-]+))?\s*")
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """`name[]/parts;format`, as in `object[]/id,user.name` or `image/png;base64`.

    name: today's name, aliases resolved. many: whether `[]` makes it element-wise. parts: what follows `/`, split at
    commas: the choices of a `select`, the projected paths of an `object`, a medium's subtype. text: as written.
    known: whether `convert` does something about it. stream: what each event holds when the value is to be streamed.
    """

    name: str
    many: bool
    parts: tuple[str, ...]
    format: str | None
    text: str
    known: bool
    stream: Literal["text", "json"] | None

    @property
    def word(self) -> str:
        """What a schema calls it: its name, `list` for several values, `text` for one that is not known."""
        if self.many:
            return "list"
        return self.name if self.known and self.name != "stream" else "text"


def parse_type(text: str) -> TypeSpec:
    """The type that `text` names, known or not. Raises ValueError with a sentence when it has no type's shape."""
    if not text:
        raise ValueError("a type is missing after `as`, such as `text` or `integer`")
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not a type; types look like `text`, `object/a,b` or `image/png;base64`")
    written, brackets, subtype, format_ = match.groups()
    name = ALIASES.get(written, written)
    parts = tuple(part.strip() for part in subtype.split(",")) if subtype is not None else ()
    if "" in parts:
        raise ValueError(f"the type `{text}` has an empty place after its `/`")
    keys = [path.rpartition(".")[2] for path in parts]
    if name == "object" and len(set(keys)) < len(keys):
        raise ValueError(f"the type `{text}` gives two values the same key")
    formats = (None, *STREAM_FORMATS, *(MEDIA_FORMATS if name in MEDIA else ()))
    stream = STREAM_FORMATS.get(format_)
    if name == "stream" and stream is None:
        stream = "json" if parts == ("json",) else "text"
    known = name in _CONVERTERS and format_ in formats
    return TypeSpec(name, brackets is not None, parts, format_, text, known, stream)


def convert(value: Any, spec: TypeSpec) -> Any:
    """`value`, which is not None, in the type of `spec`; unchanged when that is unknown or a stream's.

    Raises ValueError with a sentence about the value.
    """
    if not spec.known or spec.stream is not None:
        return value
    converter = _CONVERTERS[spec.name]
    if spec.many:
        return [None if item is None else converter(item, spec) for item in _list(value, spec)]
    return converter(value, spec)


def to_text(value: Any) -> str:
    """How a value reads inside text: None is empty, objects and lists are JSON as `json.dumps` spaces it with letters
    unescaped, floats are Python's shortest form. Raises ValueError with a sentence for what has no text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError("these bytes are not text") from None
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("this value has no text") from None


def _text(value: Any, _: TypeSpec) -> str:
    return to_text(value)


def _number(value: Any, _: TypeSpec) -> int | float:
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        digits = match.group()
        value = float(digits) if digits.strip("+-0123456789") else _exact(digits)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(value, "a number")
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(value, "a finite number")
    return value


def _integer(value: Any, _: TypeSpec) -> int:
    if isinstance(value, str) and (match := _WHOLE_NUMBER.fullmatch(value.strip())):
        return _exact(match.group(1))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(value, "a whole number")
    return value


def _exact(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's guard against numbers of thousands of digits
        _refuse(digits, "a number of reasonable length")


def _boolean(value: Any, _: TypeSpec) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1")
    return isinstance(value, int | float) and value == 1


def _json(value: Any, _: TypeSpec) -> Any:
    if not isinstance(value, str):
        return value
    try:
        content = value.encode()
        Bulk().add(content)
        return loads_finite(content)
    except ServiceError:
        _refuse(value, "JSON as small as a body must be")
    except (ValueError, OverflowError, RecursionError):
        _refuse(value, "JSON")


def _object(value: Any, spec: TypeSpec) -> dict[str, Any]:
    parsed = _json(value, spec)
    if not isinstance(parsed, dict):
        _refuse(value, "an object")
    if not spec.parts:
        return parsed
    return {path.rpartition(".")[2]: _at(parsed, path) for path in spec.parts}


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _list(value: Any, spec: TypeSpec) -> list[Any]:
    parsed = _json(value, spec)
    if not isinstance(parsed, list):
        _refuse(value, "a list")
    return parsed


def _base64(value: Any, _: TypeSpec) -> str:
    try:
        content = value if isinstance(value, bytes) else to_text(value).encode()
    except UnicodeEncodeError:
        _refuse(value, "text that can be encoded")
    return b64encode(content).decode()


def _media(value: Any, spec: TypeSpec) -> Any:
    """Bytes become base64 where that is asked for, and a data URL its content; other text already is base64."""
    if spec.format != "base64":
        return value
    if isinstance(value, str) and value.startswith("data:") and ";base64," in value:
        return value.partition(";base64,")[2]
    return b64encode(value).decode() if isinstance(value, bytes) else value


def _keep(value: Any, _: TypeSpec) -> Any:
    return value


def _refuse(value: Any, wanted: str) -> NoReturn:
    match value:
        case dict():
            shown = "an object"
        case list():
            shown = "a list"
        case bool():
            shown = "true" if value else "false"
        case _:
            shown = repr(value)
    raise ValueError(f"{shown if len(shown) <= 60 else shown[:57] + '...'} is not {wanted}")


_CONVERTERS: Mapping[str, Callable[[Any, TypeSpec], Any]] = {
    "text": _text,
    "markdown": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "json": _json,
    "object": _object,
    "list": _list,
    "base64": _base64,
    **dict.fromkeys(MEDIA, _media),
    "select": _keep,
    "stream": _keep,
}

KNOWN_TYPES = tuple(_CONVERTERS)
