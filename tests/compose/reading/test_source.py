"""YAML as this project reads it: values, keys, merging, limits and refusals."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.reading.interpolation import to_data
from compose.reading.nodes import repeated_keys
from compose.reading.problems import SourceError, render_problems
from compose.reading.source import MAX_BYTES, decode, read_yaml

pytestmark = pytest.mark.unit


def read(text: str) -> Any:
    return to_data(read_yaml(text, "f"), {}).data


def refusal(text: str) -> str:
    with pytest.raises(SourceError) as caught:
        read_yaml(text, "f")
    return render_problems(caught.value.problems, {})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("12", 12),
        ("-012", -12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("+.INF", math.inf),
        ("on", "on"),
        ("no", "no"),
        ("y", "y"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("2001-12-14", "2001-12-14"),
        ("0b11", "0b11"),
        ("0x", "0x"),
        ("1.2.3", "1.2.3"),
        ("TRue", "TRue"),
        ("=", "="),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|-\n  12", "12"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ('!!int "12"', 12),
        ("!!float 1", 1.0),
        ("!!map {b: 1}", {"b": 1}),
        ("!!seq [1]", [1]),
        ("9" * 400, int("9" * 400)),
        ("9" * 401, "9" * 401),
    ],
)
def test_a_value_has_the_type_of_yaml_1_2(written: str, value: Any) -> None:
    (read_value,) = read(f"a: {written}\n").values()
    assert (read_value, type(read_value)) == (value, type(value))


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(read("a: .nan")["a"])


def test_keys_are_the_text_they_are_written_as() -> None:
    assert read('1: a\ntrue: b\n\'on\': c\n? d\n: e\n"x y": f\n"<<": g') == {
        "1": "a",
        "true": "b",
        "on": "c",
        "d": "e",
        "x y": "f",
        "<<": "g",
    }


def test_a_merge_key_gives_what_the_mapping_itself_leaves_out() -> None:
    text = """
        base: &base {a: 1, b: 2, c: {d: 3}}
        more: &more {b: 20, e: 5}
        one: {<<: *base, b: 9}
        first: {<<: [*more, *base]}
        twice: {<<: *base, <<: *more}
    """
    data = read(text)
    assert data["one"] == {"a": 1, "b": 9, "c": {"d": 3}}
    assert data["first"] == {"a": 1, "b": 20, "c": {"d": 3}, "e": 5}
    assert data["twice"] == {"a": 1, "b": 2, "c": {"d": 3}, "e": 5}


def test_an_anchor_may_be_set_anew() -> None:
    assert read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_a_repeated_key_is_a_warning_that_names_the_lines() -> None:
    text = "component:\n  model: a\n  # or\n  model: b\n  model: c\n  n: [{x: 1, x: 2}]\n"
    root = read_yaml(text, "f.yml")
    assert to_data(root, {}).data == {"component": {"model": "c", "n": [{"x": 2}]}}
    assert [str(warning) for warning in repeated_keys(root)] == [
        "f.yml:5:3: `model` stands here again: line 5 counts, lines 2 and 4 do not",
        "f.yml:6:14: `x` stands here again: line 6 counts, line 6 does not",
    ]


@pytest.mark.parametrize("text", ["\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n", "a: 1\rb: |\r  x\r  y\r"])
def test_a_byte_order_mark_and_other_line_ends_change_nothing(text: str) -> None:
    assert read(text) == {"a": 1, "b": "x\ny\n"}


def test_old_line_breaks_are_ordinary_characters() -> None:
    assert read("a: |\n  x\u2028y\x85z\nb: 'x\u2029y'\nc: x\u2028y\n") == {
        "a": "x\u2028y\x85z\n",
        "b": "x\u2029y",
        "c": "x\u2028y",
    }


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "f:1:1: cannot read: the file is empty\n  `model-compose init` writes a first one"),
        ("# only\n---\n# this", "f:1:1: cannot read: the file is empty\n  `model-compose init` writes a first one"),
        ("- a\n", "f:1:1: cannot read: the file holds a list instead of keys\n  begin with `component:`"),
        ("# c\nword", "f:2:1: cannot read: the file holds one value instead of keys\n  begin with `component:`"),
        ("a: 1\n---\nb: 2", "f:2:1: cannot read: a second document begins here\n  a file holds one document"),
        ("a: x\0y", "f:1:5: cannot read: a NUL character is not allowed in YAML"),
        ("a: 1\nb: \x1b[0m", "f:2:4: cannot read: the control character U+001B is not allowed in YAML"),
        ("#" * (MAX_BYTES + 1), "f:1:1: cannot read: the file is larger than 1 MB"),
        (
            "a: !!python/object/apply:os.system [ls]\nb: !mine 1\nc: !!int x\nd: !!timestamp 2001-01-01",
            "f:1:4: cannot read: the tag !!python/object/apply:os.system is not allowed\n"
            "f:2:4: cannot read: the tag !mine is not allowed\n"
            "f:3:4: cannot read: 'x' is no !!int\n"
            "f:4:4: cannot read: the tag !!timestamp is not allowed",
        ),
        (
            "a: {{ name }}",
            "f:1:5: cannot read: a key must be text\n"
            "  a value that begins with `{` or `[` stands in quotes, unless it is a map or a list",
        ),
        ("a:\n  : 1", "f:2:3: cannot read: a key is missing before `:`"),
        (
            "<<: 3\na: {<<: [{}, 1]}",
            "f:1:5: cannot read: `<<` takes a map, or a list of maps\n"
            "f:2:14: cannot read: `<<` takes a map, or a list of maps",
        ),
        ('a: "\\ud83d"', "f:1:4: cannot read: an escape from \\ud800 to \\udfff names half a character"),
        (
            "a: &x [*x]\nb: *y\nc: *y",
            "f:1:8: cannot read: this alias repeats the value that it stands in\n"
            "f:2:4: cannot read: no anchor `&y` stands above\n  known here: x\n"
            "f:3:4: cannot read: no anchor `&y` stands above\n  known here: x",
        ),
        ("a: *bold", "f:1:4: cannot read: no anchor `&bold` stands above\n  put the value in quotes"),
        ("a: " + "[" * 50, "f:1:53: cannot read: more than 50 levels are nested here"),
        (
            "a: &a [[[]]]\nb: " + "[" * 47 + "*a" + "]" * 47,
            "f:2:51: cannot read: with this alias more than 50 levels are nested",
        ),
        ("a: &a 1\nb: [" + "*a, " * 101 + "]", "f:2:405: cannot read: the file has more than 100 aliases"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, printed: str) -> None:
    assert refusal(text) == printed


def test_what_precedes_a_syntax_error_is_reported_with_it() -> None:
    assert refusal("a: !x 1\nb: @") == (
        "f:1:4: cannot read: the tag !x is not allowed\n"
        "f:2:4: cannot read: a value cannot begin with `@`\n  put the whole value in quotes"
    )


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert refusal("\n".join(lines)) == ("f:5:45: cannot read: the aliases up to here repeat more than 100000 values")


def test_the_deepest_and_the_largest_allowed_file_is_read() -> None:
    assert read("a: " + "[" * 49 + "]" * 49)
    assert read("a: |\n" + " x\n" * 1000 + "#" * (MAX_BYTES - 4000))


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (b"a: 1\nb: caf\xe9\n", "f:2:7: cannot read: the byte 0xE9 is not UTF-8\n  save the file as UTF-8"),
        (b"\xff\xfea\0", "f:1:1: cannot read: the byte 0xFF is not UTF-8\n  save the file as UTF-8"),
        ("제목: ".encode() + b"\xec", "f:1:5: cannot read: the byte 0xEC is not UTF-8\n  save the file as UTF-8"),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_at_the_byte(data: bytes, printed: str) -> None:
    with pytest.raises(SourceError) as caught:
        decode(data, "f")
    assert render_problems(caught.value.problems, {}) == printed


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
YAML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufdd0\ufdd1\ufdd2\ufffe\uffff"))


@given(TEXT)
def test_any_text_survives_in_json_quotes(text: str) -> None:
    assert read(f"a: {json.dumps(text)}\nb: {{c: {json.dumps(text)}}}") == {"a": text, "b": {"c": text}}


@given(YAML_TEXT)
def test_any_printable_text_survives_in_single_quotes(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert read(f"a: {quoted} # c\nb: [{quoted}, 1]") == {"a": text, "b": [text, 1]}


@given(st.lists(YAML_TEXT.filter(lambda line: bool(line.strip())), min_size=1))
def test_any_printable_lines_survive_in_a_block_scalar(lines: list[str]) -> None:
    block = "".join(f"   {line}\n" for line in lines)
    assert read(f"a: |1\n{block}b: 1") == {"a": "".join(f"  {line}\n" for line in lines), "b": 1}


KEYS = TEXT.filter(lambda key: len(json.dumps(key)) <= 1000)  # YAML allows 1024 characters
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, JSON_VALUES, min_size=1, max_size=4))
def test_json_is_read_as_json(value: dict[str, Any]) -> None:
    assert read(json.dumps(value)) == value
