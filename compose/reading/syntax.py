"""What a YAML syntax error means, in one sentence of ours: PyYAML says what its scanner wanted, not what went wrong."""

import re
from typing import NamedTuple

from yaml.error import MarkedYAMLError

_QUOTES = "put the whole value in quotes"
_NEIGHBOURS = "is it indented like its neighbours?"


class Fault(NamedTuple):
    """A sentence about a place; `line` and `column` count from 0."""

    line: int
    column: int
    message: str
    hint: str | None = None


class _Saying(NamedTuple):
    """What we say when PyYAML's own text holds `words`; `at_start` means where the bad token begins."""

    words: str
    message: str
    hint: str | None = None
    at_start: bool = False


_SAYINGS = (
    _Saying("unexpected end of stream", "the quote opened here is never closed", None, at_start=True),
    _Saying("unexpected document separator", "the quote opened here is never closed", None, at_start=True),
    _Saying("unknown escape", "this is no escape of double-quoted text", r"write \\ for a backslash, or use '...'"),
    _Saying("expected escape sequence", r"\x, \u and \U need 2, 4 and 8 hexadecimal digits"),
    _Saying("sequence entries are not allowed", "a list cannot begin here", "begin the line with `- `"),
    _Saying("mapping keys are not allowed", "`?` is not allowed here", _QUOTES),
    _Saying(
        "chomping or indentation", "nothing but a comment may follow `|` or `>`", "begin the text on the next line"
    ),
    _Saying("a comment or a line break", "nothing but a comment may follow this", "begin the text on the next line"),
    _Saying("indentation indicator", "an indentation after `|` or `>` is a digit from 1 to 9"),
    _Saying("undefined tag handle", "this tag is not known", _QUOTES),
    _Saying("incompatible YAML", "this is not YAML 1"),
    _Saying("scanning an a", "`*` and `&` begin a YAML alias or anchor; a name must follow", _QUOTES, at_start=True),
    _Saying("directive", "a line that begins with `%` is a YAML directive; this one is not known"),
    _Saying(" a tag", "`!` begins a YAML tag; this one is not complete", _QUOTES, at_start=True),
    _Saying("<document start>", "this does not continue what stands above it", _NEIGHBOURS),
)


def explain(error: MarkedYAMLError, lines: list[str]) -> Fault:
    """The cause of a scanner's or parser's error in a text of these lines."""
    problem, context = error.problem or "", error.context or ""
    here = error.problem_mark or error.context_mark
    assert here is not None, "scanner and parser errors have a place"
    line, column = here.line, here.column
    start = error.context_mark or here
    if "cannot start any token" in problem:
        return _stray_character(line, column, lines)
    if "mapping values are not allowed" in problem:
        return _stray_colon(line, column, lines)
    if "could not find expected ':'" in problem:
        return _no_colon(start.line, lines)
    if "flow" in context and "expected ','" in problem:
        return _open_bracket(start.line, start.column, line, column, lines)
    if "<block end>" in problem:
        return _out_of_place(line, column, lines, in_list_at=start.column if "collection" in context else None)
    for saying in _SAYINGS:
        if saying.words in f"{context}: {problem}":
            place = start if saying.at_start else here
            return Fault(place.line, place.column, saying.message, saying.hint)
    return Fault(line, column, f"{_shown(lines, line, column)} is not expected here")


def _stray_character(line: int, column: int, lines: list[str]) -> Fault:
    if _at(lines, line, column) == "\t":
        return Fault(line, column, "a tab is used as indentation", "indent with spaces")
    return Fault(line, column, f"a value cannot begin with {_shown(lines, line, column)}", _QUOTES)


def _stray_colon(line: int, column: int, lines: list[str]) -> Fault:
    """A `:` that makes no key: a second one on the line, too much indentation, or a faulty line above."""
    if re.search(r":\s", lines[line][:column]):
        return Fault(line, column, "a second `:` in one value", _QUOTES)
    above = _line_above(line, lines)
    if above is None:
        return Fault(line, column, "`:` is not expected here", _QUOTES)
    return _too_far(line, lines) or _no_colon(above, lines)


def _too_far(line: int, lines: list[str]) -> Fault | None:
    """The line is indented below a line that has a value already."""
    above = _line_above(line, lines)
    if above is None or _indentation(lines[line]) <= _indentation(lines[above]) or not re.search(r":\s", lines[above]):
        return None
    return Fault(
        line, _indentation(lines[line]), "this line is indented too far", f"line {above + 1} has a value already"
    )


def _line_above(line: int, lines: list[str]) -> int | None:
    """The nearest line above that is neither blank nor a comment."""
    numbers = range(line - 1, -1, -1)
    return next((number for number in numbers if lines[number].strip() and lines[number].lstrip()[0] != "#"), None)


def _no_colon(line: int, lines: list[str]) -> Fault:
    unspaced = re.match(r"\s*(?:- +)*[\w.-]+:(?=\S)", lines[line])
    if unspaced:
        return Fault(line, unspaced.end(), "a space is missing after `:`")
    unspaced_item = re.match(r"\s*-(?=[\w\"'])", lines[line])
    if unspaced_item:
        return Fault(line, unspaced_item.end(), "a space is missing after `-`")
    return Fault(line, _indentation(lines[line]), "a `:` is missing on this line", "write `key: value`")


def _open_bracket(start_line: int, start_column: int, line: int, column: int, lines: list[str]) -> Fault:
    bracket = _at(lines, start_line, start_column)
    closing = "]" if bracket == "[" else "}"
    if column and lines[line][column - 1 :].startswith("${"):
        return Fault(line, column - 1, "this `${` has no `}` on its line")
    if line == start_line and _at(lines, line, column):
        return Fault(line, column, f"`,` or `{closing}` is expected here")
    return Fault(start_line, start_column, f"the `{bracket}` opened here is never closed", f"`{closing}` closes it")


def _out_of_place(line: int, column: int, lines: list[str], in_list_at: int | None) -> Fault:
    """Text that does not continue the list (which begins at column `in_list_at`) or the map before it."""
    char = _at(lines, line, column)
    if char in ("]", "}", ","):
        return Fault(line, column, f"`{char}` is not expected here", _QUOTES)
    if char == ":":
        return Fault(line, column, "a key is missing before `:`")
    if lines[line][:column].strip():
        return Fault(line, column, "the value ended before this text", _QUOTES)
    if char == "-":
        return Fault(line, column, "a list item stands among keys", _NEIGHBOURS)
    if column == in_list_at:
        return Fault(line, column, "a key stands among list items", "begin the line with `- `, or indent it")
    return _too_far(line, lines) or Fault(
        line, column, "the indentation of this line fits no line above it", "align it with its neighbours"
    )


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _at(lines: list[str], line: int, column: int) -> str:
    """The character there, empty at the end of a line."""
    return lines[line][column : column + 1] if line < len(lines) else ""


def _shown(lines: list[str], line: int, column: int) -> str:
    char = _at(lines, line, column)
    return "a backtick" if char == "`" else f"`{char}`" if char else "the end of the line"
