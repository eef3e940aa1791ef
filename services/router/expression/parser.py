"""Reads the language inside `${...}` when a file is loaded, so that a run only has to follow what was read."""

import re
from collections.abc import Sequence
from typing import Any

from services.router.expression.conversion import TypeSpec, convert, parse_type
from services.router.expression.syntax import EACH, Expression, ExpressionError, Slice, Step, Template, Tree
from services.router.names import closest

SOURCES = ("input", "jobs", "output", "result", "item", "index", "env", "error", "context")
CONTEXT = ("task_id", "run_id", "session_id", "metadata")
MAX_NESTING = 100

_BLANKS = re.compile(r"\s*")
_NAME = re.compile(r"[\w-]+")
_EACH_STEP = re.compile(r"\[\s*\*\s*\]")
_INDEX_STEP = re.compile(r"\[\s*(-?[0-9]{1,9})\s*\]")
_SLICE_STEP = re.compile(r"\[\s*(-?[0-9]{1,9})?\s*:\s*(-?[0-9]{1,9})?\s*\]")
_AS = re.compile(r"as\s+((?:(?!@\()[^|{}])*)")
_PLAIN = re.compile(r"[^${}@]+")
_OPENING = re.compile(r"(?<!\$)\$\Z")
_QUOTE_OPENS_AFTER = re.compile(r"(?:\||@\(\s*\w+)\Z")
_ANNOTATION = re.compile(
    r"""@\(\s*(?P<name>\w+)\s*
        (?: "(?P<double>(?:[^"\\]|\\.)*)"\s* | '(?P<single>(?:[^'\\]|\\.)*)'\s* | (?P<bare>[^)"']*) )\)""",
    re.VERBOSE | re.DOTALL,
)


def parse(text: str) -> Template:
    """The template that `text` writes. Raises ExpressionError."""
    return _Parser(text).template()


def compile_tree(value: Any) -> Tree:
    """The same data with every text that holds an expression parsed and `$${` unescaped. Raises ExpressionError."""
    match value:
        case str():
            template = parse(value)
            return template if template.literal is None else template.literal
        case dict():
            return {key: compile_tree(item) for key, item in value.items()}
        case list() | tuple():
            return [compile_tree(item) for item in value]
    return value


class _Parser:
    """Reads one text from left to right.

    offsets: for each position in `text` and its end, where that is in the text the user wrote; they differ inside a
    quoted default, which is read with its escapes taken off.
    """

    def __init__(self, text: str, offsets: Sequence[int] | None = None, nesting: int = 0) -> None:
        self.text = text
        self.offsets = offsets or range(len(text) + 1)
        self.nesting = nesting
        self.position = 0

    def template(self, *, unquoted_default: bool = False) -> Template:
        """The text to its end; an unquoted default to the `}` or annotation behind it."""
        parts: list[str | Expression] = []
        literal: list[str] = []
        open_braces = 0
        while self.position < len(self.text):
            if unquoted_default and not open_braces and self._at("}", "@("):
                break
            if self._at("${"):
                if literal:
                    parts.append("".join(literal))
                    literal.clear()
                parts.append(self._expression())
                continue
            if self._at("$${"):
                piece, length = "${", 3
            else:
                plain = _PLAIN.match(self.text, self.position)
                piece = plain.group() if plain else self.text[self.position]
                length = len(piece)
            open_braces += piece.endswith("{") - (piece == "}")
            literal.append(piece)
            self.position += length
        if literal:
            parts.append("".join(literal))
        return Template(tuple(parts))

    def _expression(self) -> Expression:
        start = self.position
        self._descend()
        self._skip(2)
        source = self._name("a source")
        if source not in SOURCES:
            raise self._error(_unknown("source", source, SOURCES), self.position - len(source))
        stream = source == "result" and self._at("[]")
        if stream:
            self._skip(2, blanks=False)
        path = self._path()
        self._check(source, path, start)
        type_ = self._type()
        default = self._default()
        description = self._description()
        if not self._at("}"):
            raise self._unfinished(start)
        self._skip(1, blanks=False)
        self.nesting -= 1
        text = self.text[start : self.position]
        if type_ is not None and default is not None and default.literal is not None:
            try:
                convert(default.literal, type_)
            except ValueError as problem:
                raise self._error(f"the default of {text} cannot be used: {problem}", start) from None
        return Expression(source, path, stream, type_, default, description, text)

    def _path(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            if self._at("."):
                self._skip(1, blanks=False)
                steps.append(self._name("a name after `.`"))
            elif self._at("["):
                steps.append(self._bracket())
            else:
                return tuple(steps)

    def _bracket(self) -> Step:
        step: Step
        if match := _EACH_STEP.match(self.text, self.position):
            step = EACH
        elif match := _INDEX_STEP.match(self.text, self.position):
            step = int(match[1])
        elif match := _SLICE_STEP.match(self.text, self.position):
            start, stop = (None if number is None else int(number) for number in match.groups())
            step = Slice(start, stop)
        else:
            return self._computed_index()
        self.position = match.end()
        return step

    def _computed_index(self) -> Template:
        opening = self.position
        self._skip(1)
        if not self._at("${"):
            raise self._error("an index is a number, a range such as `1:3`, `*` or one expression", opening)
        index = self._expression()
        self._skip(0)
        if not self._at("]"):
            raise self._error("this `[` is never closed", opening)
        self._skip(1, blanks=False)
        return Template((index,))

    def _check(self, source: str, path: tuple[Step, ...], start: int) -> None:
        match source, path:
            case "jobs", (str(), "output", *_):
                return
            case "jobs", _:
                raise self._error("`jobs` needs a job and its output: `${jobs.<id>.output}`", start)
            case "context", (str(name), *_) if name in CONTEXT:
                return
            case "context", (str(name), *_):
                raise self._error(_unknown("name of `context`", name, CONTEXT), start)
            case "context", _:
                raise self._error(f"`context` needs a name: {', '.join(CONTEXT)}", start)
            case "error", _ if path not in (("message",), ("code",)):
                raise self._error("`error` has a message and a code: `${error.message}`, `${error.code}`", start)
            case "env", _ if len(path) != 1 or not isinstance(path[0], str):
                raise self._error("`env` needs the name of one variable: `${env.NAME}`", start)

    def _type(self) -> TypeSpec | None:
        before = self.position
        self._skip(0)
        match = _AS.match(self.text, self.position)
        if match is None or before == self.position:
            return None
        start, self.position = match.start(1), match.end()
        try:
            return parse_type(match[1].strip())
        except ValueError as problem:
            raise self._error(str(problem), start) from None

    def _default(self) -> Template | None:
        if not self._at("|"):
            return None
        self._skip(1)
        if self._at('"', "'"):
            body, offsets = self._quoted()
            self._skip(0)
            return _Parser(body, offsets, self.nesting).template()
        parts = list(self.template(unquoted_default=True).parts)
        if parts and isinstance(last := parts[-1], str):
            parts[-1:] = [last.rstrip()] if last.rstrip() else []
        return Template(tuple(parts))

    def _quoted(self) -> tuple[str, list[int]]:
        """The inside of the quotes that open here, `\\` taken off before the same quote and before `\\`, with offsets.

        An expression inside may have quotes of its own, escaped or not: a quote that opens a default there is closed
        by its own partner, and what stands between the two keeps its escapes.
        """
        opening = self.position
        quote = self.text[opening]
        kept: list[int] = []
        open_braces = 0
        self.position += 1
        while self.position < len(self.text):
            position = self.position
            char = self.text[position]
            self.position += 1
            if char == "\\" and self._at(quote, "\\"):
                position = self.position
                self.position += 1
            elif char == quote and not open_braces:
                body = "".join(self.text[index] for index in kept)
                return body, [self.offsets[index] for index in (*kept, position)]
            elif char == quote and _QUOTE_OPENS_AFTER.search(self.text[opening:position].rstrip()):
                self.position = position
                self._descend()
                self._quoted()
                self.nesting -= 1
                kept.extend(range(position, self.position))
                continue
            elif char == "{" and (open_braces or _OPENING.search(self.text[position - 2 : position])):
                open_braces += 1
            elif char == "}" and open_braces:
                open_braces -= 1
            kept.append(position)
        raise self._error(f"the text that begins with {quote} never ends", opening)

    def _description(self) -> str | None:
        if not self._at("@("):
            return None
        match = _ANNOTATION.match(self.text, self.position)
        if match is None:
            raise self._error('an annotation is written `@(description "...")`')
        if match["name"] != "description":
            raise self._error(_unknown("annotation", match["name"], ("description",)))
        self._skip(len(match.group()))
        quoted = match["double"] if match["double"] is not None else match["single"]
        return match["bare"].strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)

    def _descend(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self._error(f"expressions are nested more than {MAX_NESTING} deep")

    def _name(self, what: str) -> str:
        match = _NAME.match(self.text, self.position)
        if match is None:
            where = "here" if self.position < len(self.text) else "where the text ends"
            raise self._error(f"{what} is missing {where}")
        self.position = match.end()
        return match.group()

    def _at(self, *tokens: str) -> bool:
        return self.text.startswith(tokens, self.position)

    def _skip(self, length: int, *, blanks: bool = True) -> None:
        self.position += length
        if blanks and (match := _BLANKS.match(self.text, self.position)):
            self.position = match.end()

    def _unfinished(self, start: int) -> ExpressionError:
        if self.position == len(self.text):
            return self._error("this `${` is never closed", start)
        found = self.text[self.position : self.position + 20].partition("\n")[0]
        return self._error(f"`{found}` is not expected here; an expression is `${{source.path as type | default}}`")

    def _error(self, message: str, position: int | None = None) -> ExpressionError:
        return ExpressionError(message, self.offsets[self.position if position is None else position])


def _unknown(what: str, word: str, allowed: Sequence[str]) -> str:
    meant = closest(word, allowed)
    remedy = f"did you mean `{meant}`?" if meant is not None else f"allowed: {', '.join(allowed)}"
    return f"unknown {what} `{word}`; {remedy}"
