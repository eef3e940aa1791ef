"""Broken YAML, and the sentence each break gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.reading.problems import SourceError, render_problems
from compose.reading.source import read_yaml

pytestmark = pytest.mark.unit

BROKEN = [
    ("a:\n\tb: 1", "2:1: a tab is used as indentation", "indent with spaces"),
    ("a: x\n\tb: 1", "2:1: a tab is used as indentation", "indent with spaces"),
    ("a: 1\n  b: 2", "2:3: this line is indented too far", "line 1 has a value already"),
    ("a: x\n# c\n\n b: c", "4:2: this line is indented too far", "line 1 has a value already"),
    ("a:1\nb: 2", "1:3: a space is missing after `:`", None),
    ("a:\n  - b:1\n    c: 2", "2:7: a space is missing after `:`", None),
    ("a: 1\nb:2", "2:3: a space is missing after `:`", None),
    ("a\nb: 1", "1:1: a `:` is missing on this line", "write `key: value`"),
    ("a: 1\nb", "2:1: a `:` is missing on this line", "write `key: value`"),
    ("a:\n- b\n-c", "3:2: a space is missing after `-`", None),
    ("a: b: c", "1:5: a second `:` in one value", "put the whole value in quotes"),
    ("a: b\nc: d: e", "2:5: a second `:` in one value", "put the whole value in quotes"),
    (": x", "1:1: a key is missing before `:`", None),
    ("a:\n    b: 1\n  c: 2", "3:3: the indentation of this line fits no line above it", "align it with its neighbours"),
    ("  a: 1\nb: 2", "2:1: this does not continue what stands above it", "is it indented like its neighbours?"),
    ("a: 1\n- b", "2:1: a list item stands among keys", "is it indented like its neighbours?"),
    ("- a\nb: c", "2:1: a key stands among list items", "begin the line with `- `, or indent it"),
    ("a: - b", "1:4: a list cannot begin here", "begin the line with `- `"),
    ("a: ? b", "1:4: `?` is not allowed here", "put the whole value in quotes"),
    ('a: "x\nb: 1', "1:4: the quote opened here is never closed", None),
    ("a: 'x\n---\nb: 1", "1:4: the quote opened here is never closed", None),
    ("a: 'it's'", "1:8: the value ended before this text", "put the whole value in quotes"),
    ('a: "x" y', "1:8: the value ended before this text", "put the whole value in quotes"),
    (r'a: "\q"', "1:6: this is no escape of double-quoted text", r"write \\ for a backslash, or use '...'"),
    (r'a: "\u12"', r"1:7: \x, \u and \U need 2, 4 and 8 hexadecimal digits", None),
    (r'a: "\UFFFFFFFF"', "1:7: this number is out of range", None),
    ("a: [1, 2\nb: 3", "1:4: the `[` opened here is never closed", "`]` closes it"),
    ("a: {b: 1", "1:4: the `{` opened here is never closed", "`}` closes it"),
    ("a: [1, {b: 2]}", "1:13: `,` or `}` is expected here", None),
    ("a: [b, ${input.x]", "1:8: this `${` has no `}` on its line", None),
    ("a: ]", "1:4: `]` is not expected here", None),
    ("a: [1]]", "1:7: `]` is not expected here", "put the whole value in quotes"),
    ("a: @x", "1:4: a value cannot begin with `@`", "put the whole value in quotes"),
    ("a: `x", "1:4: a value cannot begin with a backtick", "put the whole value in quotes"),
    ("a: |x\n b", "1:5: nothing but a comment may follow `|` or `>`", "begin the text on the next line"),
    ("a: |0\n b", "1:5: an indentation after `|` or `>` is a digit from 1 to 9", None),
    (
        "a: **bold**",
        "1:4: `*` and `&` begin a YAML alias or anchor; a name must follow",
        "put the whole value in quotes",
    ),
    ("a: !<x 1", "1:4: `!` begins a YAML tag; this one is not complete", "put the whole value in quotes"),
    ("a: !e!x 1", "1:4: this tag is not known", "put the whole value in quotes"),
    ("%YAML 2.0\n---\na: 1", "1:1: this is not YAML 1", None),
    ("%YAML x\n---\na: 1", "1:7: a line that begins with `%` is a YAML directive; this one is not known", None),
    (f"%YAML 1.{'9' * 5000}\n---\na: 1", "1:9: this number is out of range", None),
]


@pytest.mark.parametrize(("text", "sentence", "hint"), BROKEN)
def test_broken_yaml_is_explained_in_one_sentence(text: str, sentence: str, hint: str | None) -> None:
    with pytest.raises(SourceError) as caught:
        read_yaml(text, "f")
    place, _, message = sentence.partition(": ")
    printed = render_problems(caught.value.problems, {})
    assert printed == f"f:{place}: cannot read: {message}" + (f"\n  {hint}" if hint else "")


def test_windows_line_ends_do_not_move_a_place() -> None:
    text = "a: 1\r\nb: 2\r\n c: 3"
    with pytest.raises(SourceError) as caught:
        read_yaml(text, "f")
    assert render_problems(caught.value.problems, {"f": text}) == (
        "f:3:2: cannot read: this line is indented too far\n   c: 3\n   ^\n  line 2 has a value already"
    )


PIECES = ["a", ":", " ", "\n", "  ", "- ", '"', "'", "[", "]", "{", "}", ",", "|", ">", "#", "&a", "*a", "!", "%", "?"]
PIECES += ["${", "$", "@", "\\", "\t", "---", "...", "<<", "!!int", "0x", "\u2028", "é", "|-\n", "a: "]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_read_or_refused_at_a_place_inside_it(text: str) -> None:
    try:
        read_yaml(text, "f")
    except SourceError as error:
        lines = text.split("\n")
        for problem in error.problems:
            assert 1 <= problem.mark.line <= len(lines)
            assert 1 <= problem.mark.column <= len(lines[problem.mark.line - 1]) + 1
