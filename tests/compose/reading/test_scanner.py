"""Which text is opaque to YAML: an expression in a plain scalar, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.reading.interpolation import to_data
from compose.reading.nodes import Mapping, Scalar, Sequence
from compose.reading.source import read_yaml
from compose.reading.spans import expression_ends
from services.router.expression import ExpressionError, parse

pytestmark = pytest.mark.unit


def read(text: str) -> Any:
    return to_data(read_yaml(text, "f"), {}).data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.a | b: c}", "${input.a | b: c}"),
        ("${input.a | b #c} # comment", "${input.a | b #c}"),
        ('${input.a | "Generate text about: ${input.b}"}', '${input.a | "Generate text about: ${input.b}"}'),
        ('Say "${input.a | x: y}" so # c', 'Say "${input.a | x: y}" so'),
        ('${input.a | "}: #"} and ${input.b | {"k": [1, 2]}}', '${input.a | "}: #"} and ${input.b | {"k": [1, 2]}}'),
        ("$${a: b} is text", "$${a: b} is text"),
        ('"${input.a | x: y} #z" # c', "${input.a | x: y} #z"),
        ("'${input.a' # }", "${input.a"),
        ("x # ${input.a", "x"),
        ("|-\n  ${input.a: #b\n  c}", "${input.a: #b\nc}"),
        (">-\n  ${input.a\n  | b}", "${input.a | b}"),
        (
            "one ${input.a | b: c}\n  two ${input.d | e: f}\n\n  three",
            "one ${input.a | b: c} two ${input.d | e: f}\nthree",
        ),
        ("${input.a # comment", "${input.a"),
    ],
)
def test_a_block_value_with_expressions(text: str, value: str) -> None:
    assert read(f"a: {text}\nb: 1\n") == {"a": value, "b": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[${input.a}, ${input.b | x, y: [z]}]", ["${input.a}", "${input.b | x, y: [z]}"]),
        ("{b: ${input.a}, c: ${input.b | {}}}", {"b": "${input.a}", "c": "${input.b | {}}"}),
        ("[x ${a | ,} y, \"${a, b\", '${c, d']", ["x ${a | ,} y", "${a, b", "${c, d"]),
        ("[\n  ${a | ], [} # ${\n, b]", ["${a | ], [}", "b"]),
        ("{b: ${input.prompts[${index}]}}", {"b": "${input.prompts[${index}]}"}),
    ],
)
def test_a_flow_value_with_expressions(text: str, value: Any) -> None:
    assert read(f"a: {text}") == {"a": value}


def test_columns_behind_an_expression_are_those_of_the_file() -> None:
    node = read_yaml('a: [${input.a | "}, x"}, {b: 제${c}, d: e}]', "f")
    items = node.entries["a"].value
    assert isinstance(items, Sequence)
    assert isinstance(items.items[1], Mapping)
    assert [items.items[0].mark.column, items.items[1].mark.column] == [5, 26]
    assert [entry.value.mark.column for entry in items.items[1].entries.values()] == [30, 40]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\t1\t# c\nb: x\ty\n", {"a": 1, "b": "x\ty"}),
        ("a: [1,\t2]\n", {"a": [1, 2]}),
        (
            "a: http://host:80/?q=a#b\nb: [http://host/?q=a]\n",
            {"a": "http://host:80/?q=a#b", "b": ["http://host/?q=a"]},
        ),
    ],
)
def test_plain_text_of_yaml_1_2(text: str, value: Any) -> None:
    assert read(text) == value


def test_a_document_marker_ends_plain_text() -> None:
    assert read("---\na: x\n...\n") == {"a": "x"}


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("${a} b", "${a}"),
        ("${a | {}} }", "${a | {}}"),
        ('${a | "}"} }', '${a | "}"}'),
        (r"${a | '\'}'} }", r"${a | '\'}'}"),
        ('${a | x "}"} }', '${a | x "}'),
        ('${a | "x ${b | "}"} y"} }', '${a | "x ${b | "}"} y"}'),
        ('${a | "x" @(description "}")} }', '${a | "x" @(description "}")}'),
        ("${a | $${x}} }", "${a | $${x}}"),
        ("${a", None),
        ('${a | "}', None),
        ("${a\n}", None),
        ("${" * 2000, None),
        ("${" * 2000 + "}" * 2000, "${" * 2000 + "}" * 2000),
    ],
)
def test_an_expression_ends_at_its_matching_brace(text: str, end: str | None) -> None:
    assert expression_ends(text, 0)[0].get(0) == (None if end is None else len(end))


WORDS = st.sampled_from(["x", "a b", "c: d", " #e", ", ", "[", "]", "{}", "'", "é", "$", '\\"', "\\\\", "$${"])


def _default(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    unquoted = st.lists(WORDS | inner, min_size=1, max_size=4).map("".join)
    quoted = st.lists(WORDS | inner | st.sampled_from(["{", "}"]), max_size=4).map(lambda parts: f'"{"".join(parts)}"')
    paths = st.sampled_from(["input.a", "input.b[0]", "env.C", "input.a[${index}]"])
    types = st.sampled_from(["", " as text"])
    notes = st.sampled_from(["", ' @(description "a } b")'])
    return st.builds("${{{}{} | {}{}}}".format, paths, types, unquoted | quoted, notes)


EXPRESSIONS = st.recursive(st.sampled_from(["${input.a}", "${index}"]), _default, max_leaves=4)


def _is_one_expression(text: str) -> bool:
    try:
        template = parse(text)
    except ExpressionError:
        return False
    return template.whole is not None


@given(EXPRESSIONS.filter(_is_one_expression))
def test_the_scanner_and_the_parser_agree_where_an_expression_ends(text: str) -> None:
    assert expression_ends(f"{text} }}", 0) == (expression_ends(text, 0)[0], len(text))
    assert expression_ends(text, 0)[0][0] == len(text)


@given(EXPRESSIONS.filter(_is_one_expression))
def test_an_expression_survives_in_block_and_flow_style_with_columns_kept(text: str) -> None:
    root = read_yaml(f"a: {text} # c\nb: [{text}, {{c: {text}, d: 1}}]", "f")
    (block, flow) = (entry.value for entry in root.entries.values())
    assert isinstance(block, Scalar)
    assert isinstance(flow, Sequence)
    assert block.raw == text
    inside = flow.items[1]
    assert isinstance(inside, Mapping)
    assert to_data(root, {"C": "c"}).data == {"a": text, "b": [text, {"c": text, "d": 1}]}
    assert inside.entries["d"].key_mark.column == len(f"b: [{text}, {{c: {text}, ") + 1
