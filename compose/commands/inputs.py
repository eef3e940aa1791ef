"""What `run -i` means: JSON, a file of JSON, or one named text."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra.errors import ExitCode, UserError

_FORMS = 'use JSON such as \'{"name": "text"}\', @FILE with such JSON, or name=text'


def parse_inputs(options: Iterable[str]) -> dict[str, Any]:
    """All options as one input; a later one wins. Raises UserError for an option that is none of the three."""
    merged: dict[str, Any] = {}
    for option in options:
        merged |= _parse(option)
    return merged


def _parse(option: str) -> dict[str, Any]:
    if option.startswith("@"):
        return _object(_read(option[1:]), where=f"the input in {option[1:]}")
    if option.lstrip().startswith("{"):
        return _object(option, where="the input")
    name, equals, text = option.partition("=")
    if not equals or not name:
        raise _usage(f"the input `{option}` is not understood", _FORMS)
    return {name: text}


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else "it is not UTF-8"
        hint = "name a file of JSON, or @- for standard input"
        raise _usage(f"the input file {name} cannot be read: {reason}", hint) from None


def _object(text: str, *, where: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise _usage(f"{where} is not valid JSON: {constant} is no number in JSON", _FORMS)

    try:
        value = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _usage(f"{where} is not valid JSON at {place}", _FORMS) from None
    except RecursionError:
        raise _usage(f"{where} is not valid JSON: it is nested too deeply", _FORMS) from None
    except ValueError:
        raise _usage(f"{where} is not valid JSON: a number in it is too long", _FORMS) from None
    if not isinstance(value, dict):
        raise _usage(f"{where} is not a JSON object", _FORMS)
    return value


def _usage(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.USAGE)
