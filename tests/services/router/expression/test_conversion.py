"""Every type behind `as`, from text and from values."""

from typing import Any

import pytest

from services.router.expression.conversion import convert, parse_type, to_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "name", "many", "parts", "format_", "known", "stream"),
    [
        ("text", "text", False, (), None, True, None),
        ("string", "text", False, (), None, True, None),
        ("int", "integer", False, (), None, True, None),
        ("float[]", "number", True, (), None, True, None),
        ("bool", "boolean", False, (), None, True, None),
        ("object[]/id,user.name", "object", True, ("id", "user.name"), None, True, None),
        ("select/red apple, green", "select", False, ("red apple", "green"), None, True, None),
        ("image/svg+xml;base64", "image", False, ("svg+xml",), "base64", True, None),
        ("file;path", "file", False, (), "path", True, None),
        ("stream/text", "stream", False, ("text",), None, True, "text"),
        ("stream/json", "stream", False, ("json",), None, True, "json"),
        ("text;sse-text", "text", False, (), "sse-text", True, "text"),
        ("json;sse-json", "json", False, (), "sse-json", True, "json"),
        ("text;base64", "text", False, (), "base64", False, None),
        ("image;bsae64", "image", False, (), "bsae64", False, None),
        ("vector", "vector", False, (), None, False, None),
    ],
)
def test_reading_a_type(
    text: str, name: str, many: bool, parts: tuple[str, ...], format_: str | None, known: bool, stream: str | None
) -> None:
    spec = parse_type(text)
    assert (spec.name, spec.many, spec.parts, spec.format) == (name, many, parts, format_)
    assert (spec.known, spec.stream, spec.text) == (known, stream, text)


@pytest.mark.parametrize(
    ("value", "type_", "converted"),
    [
        (5, "text", "5"),
        (True, "text", "true"),
        ([1, "é"], "text", '[1, "é"]'),
        (b"caf\xc3\xa9", "text", "café"),
        (0.1, "markdown", "0.1"),
        ("5", "number", 5),
        (" -0.5 ", "number", -0.5),
        ("1e3", "number", 1000.0),
        (7, "number", 7),
        (10**400, "number", 10**400),
        ("5", "integer", 5),
        ("5.0", "integer", 5),
        (5.0, "integer", 5),
        ("123456789012345678901234567890", "integer", 123456789012345678901234567890),
        ("TRUE", "boolean", True),
        ("1", "boolean", True),
        ("yes", "boolean", False),
        ("0", "boolean", False),
        ("", "boolean", False),
        (1, "boolean", True),
        (2, "boolean", False),
        (False, "boolean", False),
        ([True], "boolean", False),
        ('{"a": [1]}', "json", {"a": [1]}),
        ("null", "json", None),
        ([1], "json", [1]),
        ('{"a": 1}', "object", {"a": 1}),
        ("[1, 2]", "list", [1, 2]),
        ({"a": 1, "b": {"c": 2, "d": 3}}, "object/a,b.c", {"a": 1, "c": 2}),
        ({"b": 5}, "object/a,b.c", {"a": None, "c": None}),
        ('[{"id": 1, "x": 2}, null]', "object[]/id", [{"id": 1}, None]),
        (["1", None, 2.0], "integer[]", [1, None, 2]),
        ("[1, 2]", "text[]", ["1", "2"]),
        ("hé", "base64", "aMOp"),
        (b"\xff", "base64", "/w=="),
        ({"a": 1}, "base64", "eyJhIjogMX0="),
        (b"\xff", "image/png;base64", "/w=="),
        ("data:image/png;base64,/w==", "image;base64", "/w=="),
        ("/w==", "image;base64", "/w=="),
        ("https://example.org/a.png", "image;url", "https://example.org/a.png"),
        (b"\xff", "audio", b"\xff"),
        ("c", "select/a,b", "c"),
        ("[1]", "stream/json", "[1]"),
        ("[1]", "json;sse-json", "[1]"),
        ({"a": 1}, "vector/3", {"a": 1}),
    ],
)
def test_what_becomes_of_a_value(value: Any, type_: str, converted: Any) -> None:
    result = convert(value, parse_type(type_))
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    ("value", "type_", "message"),
    [
        ("warm", "number", "'warm' is not a number"),
        ("1_000", "number", "'1_000' is not a number"),
        ("nan", "number", "'nan' is not a number"),
        ("1e999", "number", "inf is not a finite number"),
        (True, "number", "true is not a number"),
        ([1], "number", "a list is not a number"),
        ("5.5", "integer", "'5.5' is not a whole number"),
        (5.5, "integer", "5.5 is not a whole number"),
        (False, "integer", "false is not a whole number"),
        ("9" * 5000, "integer", f"'{'9' * 56}... is not a number of reasonable length"),
        ("{a}", "json", "'{a}' is not JSON"),
        ("NaN", "json", "'NaN' is not JSON"),
        ("1e999", "json", "'1e999' is not JSON"),
        ('"\\ud800"', "json", "'\"\\\\ud800\"' is not JSON"),
        ("\ud800", "json", "'\\ud800' is not JSON"),
        ("[" * 100_000, "json", f"'{'[' * 56}... is not JSON as small as a body must be"),
        ("[" + "0," * 100_000 + "0]", "list", f"'[{'0,' * 27}0... is not JSON as small as a body must be"),
        ("[1]", "object", "'[1]' is not an object"),
        (5, "object/a", "5 is not an object"),
        ({"a": 1}, "list", "an object is not a list"),
        ("a", "text[]", "'a' is not JSON"),
        (["1", "x"], "integer[]", "'x' is not a whole number"),
        (b"\xff", "text", "these bytes are not text"),
        ("\ud800", "base64", "'\\ud800' is not text that can be encoded"),
    ],
)
def test_what_a_value_cannot_become(value: Any, type_: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        convert(value, parse_type(type_))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (None, ""), (True, "true"), (1.0, "1.0"), (1e22, "1e+22"), (2**70, "1180591620717411303424")],
)
def test_scalars_as_text(value: Any, text: str) -> None:
    assert to_text(value) == text
