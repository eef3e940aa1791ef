"""How a setting may be written, and the typed value it becomes; a template keeps the user's own words instead."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from compose.reading.interpolation import EnvText
from infra.resources import read_cpu, read_gpu, read_gpu_type, read_memory
from services.quantities import duration_s, size_bytes

Template = Any
"""YAML-like data whose texts may hold expressions; the router renders it."""


def plain(value: Any) -> Any:
    """A setting's value: what `${env.NAME}` stands for, anything else as it is."""
    return value.resolved if isinstance(value, EnvText) else value


def _reads_as(read: Callable[[Any], Any], written: Any) -> BeforeValidator:
    """A setting that `read` makes of its plain value; `written` is what the JSON schema lets people write."""
    writable = written if written is str or str in get_args(written) else written | _Reference
    return BeforeValidator(lambda value: read(plain(value)), json_schema_input_type=writable)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be text" + ("; put it in quotes" if isinstance(value, bool | float) else ""))
    return str(value)


def _identifier(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", text):
        raise ValueError("must be 1 to 63 letters, digits, `_` or `-`, and not begin with `-`")
    return text


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false" + _not(value))
    return value


def _whole(minimum: int, maximum: int | None = None) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        digits = isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,18}", value.strip())
        if not digits and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError("must be a whole number" + _not(value))
        number = int(value)
        if number < minimum or (maximum is not None and number > maximum):
            bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise ValueError(f"must be {bounds}, not {number}")
        return number

    return read


def _base_path(value: Any) -> str:
    text = _text(value).rstrip("/")
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError(f"must be a path such as /api{_not(value)}")
    return text


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return tuple(_text(plain(item)) for item in value)


def _dependencies(value: Any) -> tuple[str | tuple[str, ...], ...]:
    if not isinstance(value, list):
        return _texts(value)
    return tuple(_either(item) if isinstance(item, list) else _text(plain(item)) for item in value)


def _either(items: list[Any]) -> tuple[str, ...]:
    if not items:
        raise ValueError("holds an empty list; of each inner list one job must have run")
    return tuple(_text(plain(item)) for item in items)


def _number(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number" + _not(value))
    return number


def _deadline(value: Any) -> float:
    seconds = duration_s(value)
    if seconds <= 0:
        raise ValueError(f"must be longer than 0{_not(value)}")
    return seconds


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a map of names and values")
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", str(name)):
            raise ValueError(f"must name variables by letters, digits and `_`{_not(name)}")
    return {str(name): _environment_value(name, plain(item)) for name, item in value.items()}


def _environment_value(name: Any, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"must give `{name}` a text or a number")
    return str(value)


def _device(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", text):
        question = "; did you mean `cuda`?" if text.startswith("gpu") else ""
        raise ValueError(f"must be one of auto, cpu, cuda, cuda:N, mps{_not(value)}{question}")
    return text


def _gpu(value: Any) -> int | str:
    """As it is written, in one form: a count, or TYPE:COUNT."""
    count, type_ = read_gpu(value)
    return f"{type_}:{count}" if type_ else count


def _not(value: Any) -> str:
    return f", not `{value}`" if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


_Reference = Annotated[str, Field(pattern=r"\$\{env\.")]
_Numeral = Annotated[str, Field(pattern=r"\$\{env\.|^\s*[-+]?[0-9.]")]
_Truth = Annotated[str, Field(pattern=r"\$\{env\.|^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$")]

Text = Annotated[str, _reads_as(_text, str | int)]
Identifier = Annotated[str, _reads_as(_identifier, str | int)]
Texts = Annotated[tuple[str, ...], _reads_as(_texts, list[str | int] | str)]
Flag = Annotated[bool, _reads_as(_flag, bool | _Truth)]
Count = Annotated[int, _reads_as(_whole(0), int | _Numeral)]
Positive = Annotated[int, _reads_as(_whole(1), int | _Numeral)]
Percent = Annotated[int, _reads_as(_whole(1, 100), int | _Numeral)]
Number = Annotated[float, _reads_as(_number, float | _Numeral)]
Dependencies = Annotated[
    tuple[str | tuple[str, ...], ...], _reads_as(_dependencies, list[str | int | list[str | int]] | str)
]
Deadline = Annotated[float, _reads_as(_deadline, float | str)]
Port = Annotated[int, _reads_as(_whole(1, 65_535), int | _Numeral)]
Seconds = Annotated[float, _reads_as(duration_s, float | str)]
Bytes = Annotated[int, _reads_as(size_bytes, int | str)]
BasePath = Annotated[str, _reads_as(_base_path, str)]
Cpu = Annotated[float, _reads_as(read_cpu, float | str)]
Memory = Annotated[int, _reads_as(read_memory, int | str)]
Gpu = Annotated[int | str, _reads_as(_gpu, int | str)]
GpuType = Annotated[str, _reads_as(read_gpu_type, str)]
Device = Annotated[str, _reads_as(_device, str)]
Environment = Annotated[dict[str, str], _reads_as(_environment, dict[str, str | float | bool])]
Plain = BeforeValidator(plain)
"""For closed sets: `Annotated[Literal[...], Plain]`."""
