"""What is filled in becomes the input of a run: typed, with empty fields left out, refused in a sentence."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ui.form import InputError, collect, make_field
from ui.schema import Input

pytestmark = pytest.mark.unit


def given(value: Any, type: str = "text", **parts: Any) -> dict[str, Any]:  # noqa: A002 - the schema's own word
    return collect([Input(name="an-input", type=type, **parts)], [value])


@pytest.mark.parametrize(
    ("type", "default", "value", "expected"),
    [
        ("text", None, " hi ", {"an-input": " hi "}),
        ("text", None, "", {}),
        ("text", None, " \n", {}),
        ("text", "a default", "", {"an-input": ""}),
        ("markdown", None, None, {}),
        ("number", 0.7, 0.5, {"an-input": 0.5}),
        ("number", 0.7, None, {}),
        ("number", None, "1e-3", {"an-input": 0.001}),
        ("number", None, "3", {"an-input": 3}),
        ("integer", 1, 2.0, {"an-input": 2}),
        ("integer", None, "9007199254740993", {"an-input": 9007199254740993}),
        ("integer", None, "", {}),
        ("boolean", None, False, {"an-input": False}),
        ("boolean", None, True, {"an-input": True}),
        ("boolean", True, False, {"an-input": False}),
        ("select", None, "", {}),
        ("select", None, "long", {"an-input": "long"}),
        ("json", None, '{"a": [1]}', {"an-input": {"a": [1]}}),
        ("json", None, "", {}),
        ("list", None, "[]", {"an-input": []}),
        ("list", None, " one, [1]\n\n  {two}\r\n", {"an-input": ["one, [1]", "{two}"]}),
        ("object", None, "{}", {"an-input": {}}),
    ],
)
def test_fields_become_inputs(type: str, default: Any, value: Any, expected: dict[str, Any]) -> None:  # noqa: A002 - as above
    assert given(value, type, default=default) == expected
    assert repr(given(value, type, default=default)) == repr(expected)


@pytest.mark.parametrize(
    ("type", "value", "message"),
    [
        ("text", " ", "Fill in “An input”; it is required."),
        ("integer", "2.5", "“An input” must be a whole number, not 2.5."),
        ("integer", "many", "“An input” must be a whole number, not many."),
        ("number", "nan", "“An input” must be a number, not nan."),
        ("number", "1e999", "“An input” must be a number, not 1e999."),
        ("json", '{"a": }', "“An input” is not valid JSON at line 1, column 7."),
        ("json", "[" * 100_000, "“An input” is not valid JSON."),
        ("json", "[NaN]", "“An input” is not valid JSON."),
        ("json", "1e999", "“An input” is not valid JSON."),
        ("list", "{}", "“An input” must be a list, [...]."),
        ("list", " [one]", "“An input” is not valid JSON at line 1, column 3."),
        ("object", "3", "“An input” must be an object, {...}."),
    ],
)
def test_what_does_not_fit_is_a_sentence(type: str, value: Any, message: str) -> None:  # noqa: A002 - as above
    with pytest.raises(InputError) as caught:
        given(value, type, required=True)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("default", "required", "choices", "chosen"),
    [
        (None, False, ["", "a", "b"], ""),
        (None, True, ["a", "b"], "a"),
        ("b", False, ["a", "b"], "b"),
        ("c", False, ["c", "a", "b"], "c"),
    ],
)
def test_a_select_can_always_show_what_holds(default: Any, required: bool, choices: list[str], chosen: str) -> None:
    field = make_field(Input(name="kind", type="select", options=("a", "b"), default=default, required=required))
    assert isinstance(field, gr.Dropdown)
    assert field.choices == [(choice, choice) for choice in choices]
    assert field.value == chosen


def test_a_file_becomes_a_data_url(tmp_path: Path) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(b"\x89PNG")
    assert given(str(picture), "image") == {"an-input": "data:image/png;base64,iVBORw=="}
