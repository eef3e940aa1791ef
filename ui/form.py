"""A workflow's inputs as fields to fill in, and what was filled in as the input of a run."""

import base64
import json
import math
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ui.schema import Input

MEDIA = ("image", "audio", "video", "file")
_JSON = ("json", "object", "list")
_NUMBERS = ("number", "integer")


class InputError(ValueError):
    """A field that cannot be sent as it is, as a sentence for the person who filled it in."""


def make_field(item: Input) -> gr.components.Component:
    """The component for one input, with its default in it. Call it where the component is to stand."""
    common: dict[str, Any] = {
        "label": f"{item.label} *" if item.required else item.label,
        "info": item.description,
        "elem_classes": [f"input-{item.name}"],
        "interactive": True,
    }
    match item.type:
        case "number" | "integer":
            default = _number(item.default)
            if default is not None:
                return gr.Number(value=default, **common)
            # Gradio's number field turns "nothing" into 0, which is not the same to a model
            kind = "A whole number" if item.type == "integer" else "A number"
            return gr.Textbox(placeholder=kind, **common)
        case "boolean":
            return gr.Checkbox(value=item.default is True, **common)
        case "select" if item.options:
            chosen = str(item.default) if item.default is not None else item.options[0] if item.required else ""
            choices = [*item.options] if chosen in item.options else [chosen, *item.options]
            return gr.Dropdown(choices=choices, value=chosen, **common)
        case "image" | "audio" | "video" | "file":
            kinds = [item.type] if item.type != "file" else None
            del common["info"]  # a file field has no place for it
            return gr.File(file_types=kinds, type="filepath", **common)
        case "list":
            value = None if item.default is None else _json_text(item.default)
            example = 'One a line, or JSON, such as ["first", "second"]'
            return gr.Textbox(value=value, lines=4, max_lines=20, placeholder=example, **common)
        case "json" | "object":
            value = None if item.default is None else _json_text(item.default)
            common["elem_classes"].append("json-field")
            example = 'JSON, such as {"key": "value"}'
            return gr.Textbox(value=value, lines=3, max_lines=20, placeholder=example, **common)
        case _:
            value = None if item.default is None else str(item.default)
            return gr.Textbox(value=value, lines=3, max_lines=20, **common)


def collect(inputs: Sequence[Input], values: Sequence[Any]) -> dict[str, Any]:
    """The input of a run from the fields' values; empty ones are left out, so that the file's defaults hold.

    An emptied text whose file gives a default is sent as "", for leaving it out would bring the default back.
    Raises InputError about the first field that does not fit.
    """
    given = {item.name: _convert(item, value) for item, value in zip(inputs, values, strict=True)}
    return {name: value for name, value in given.items() if value is not None}


def _convert(item: Input, value: Any) -> Any:
    """The value in the input's type; None: leave it out."""
    if value is None or (isinstance(value, str) and not value.strip()):
        if item.required:
            raise InputError(f"Fill in “{item.label}”; it is required.")
        is_text = item.type not in (*MEDIA, *_JSON, *_NUMBERS, "select", "boolean")
        return "" if is_text and item.default is not None else None
    match item.type:
        case "number" | "integer":
            return _parse_number(item, value)
        case "list" if not value.lstrip().startswith(("[", "{")):
            return [line.strip() for line in value.splitlines() if line.strip()]
        case "json" | "object" | "list":
            return _parse_json(item, value)
        case "image" | "audio" | "video" | "file":
            return _data_url(Path(value))
        case _:
            return value


def _parse_number(item: Input, value: Any) -> int | float:
    """From a number field or from a text field; whole numbers stay whole."""
    try:
        number = float(value)
        if number.is_integer():
            return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else int(number)
        if item.type == "number" and math.isfinite(number):
            return number
    except ValueError:
        pass
    kind = "a whole number" if item.type == "integer" else "a number"
    raise InputError(f"“{item.label}” must be {kind}, not {value}.")


def _parse_json(item: Input, text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # NaN and Infinity, which Python reads, are no JSON
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"“{item.label}” is not valid JSON{place}.") from None
    wanted = {"list": (list, "a list, [...]"), "object": (dict, "an object, {...}")}.get(item.type)
    if wanted is not None and not isinstance(value, wanted[0]):
        raise InputError(f"“{item.label}” must be {wanted[1]}.")
    return value


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _number(default: Any) -> float | None:
    try:
        return float(default)
    except (TypeError, ValueError):
        return None


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
