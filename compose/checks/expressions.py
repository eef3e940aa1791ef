"""Whether the expressions of a template can be read, and read only what there is at their place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from compose.blocks import Location
from compose.checks.findings import Findings
from compose.written import Template
from services.router.expression import (
    EACH,
    KNOWN_TYPES,
    Expression,
    ExpressionError,
    Slice,
    Step,
    Tree,
    Use,
    compile_tree,
    parse,
    walk,
)
from services.router.expression import Template as Parsed
from services.router.names import closest

STRUCTURAL_KEYS: Final = frozenset({"...", "*", "?", "+", "|", "&"})
"""Keys with a meaning of their own in mappings of the field's files."""

TEXT: Final = "text"
TEXTS: Final = "texts"
"""A text, or a list of texts when the run asks for several."""

NO_OUTPUT: Final = "no output"
"""What a job that only chooses where to go on gives."""

_TEXT_TYPES: Final = frozenset({"text", "markdown", "base64"})


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of such values, or when it is not `sure` perhaps one such value by itself."""

    item: "Shape"
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Absent:
    """What could be there, and is not; the hint says how to get it."""

    hint: str


Shape = str | dict[str, Any] | ListOf | Absent | None
"""What is known of a value before the run: TEXT, TEXTS, a map of shapes, a list, or nothing."""

_ONLY_IN: Final = {
    "item": "in a `for-each`, and in a filter's `where`",
    "index": "in a job with `repeat_count`, in a `for-each` or a `loop`, and in a filter's `where`",
    "result": "in an action's `output`",
    "error": "in `on_error.output`, and in a job that `on_error.to` leads to",
    "output": "in an `output`",
    "jobs": "in a workflow and its jobs",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a template may read where it stands. name: completes "... cannot be read in"."""

    name: str
    sources: Mapping[str, Shape]


def check(template: Template, location: Location, place: Place, findings: Findings) -> Tree | None:
    """The compiled template, or None when it does not parse; writes down everything that is wrong in it."""
    sound = True
    for at, text in _texts(template, location, findings):
        if _parses(text, at, findings):
            for use in walk(parse(text)):
                _check_use(use, at, place, findings)
        else:
            sound = False
    return compile_tree(template) if sound else None


def shape_of(tree: Tree, sources: Mapping[str, Shape]) -> Shape:
    """What is known of a compiled template's value."""
    if isinstance(tree, dict):
        return {str(key): shape_of(value, sources) for key, value in tree.items()}
    if not isinstance(tree, Parsed):
        return TEXT if isinstance(tree, str) else None
    if tree.whole is None:
        return TEXT
    if tree.whole.type is not None:
        return TEXT if tree.whole.type.name in _TEXT_TYPES and not tree.whole.type.many else None
    try:
        return _follow(sources.get(tree.whole.source), tree.whole.path)
    except _NoSuchPathError:
        return None


def listed(shape: Shape, *, sure: bool) -> Shape:
    """What is known of a list of such values; not sure: perhaps one by itself."""
    if shape in (TEXT, TEXTS):
        return TEXTS
    return ListOf(shape, sure) if shape is not None or sure else None


def mapped(template: Template, result: Shape) -> Shape:
    """What is known of a result behind an `output` mapping; without one it passes on."""
    if template is None:
        return result
    try:
        return shape_of(compile_tree(template), {"result": result, "output": result})
    except ExpressionError:
        return None


class _NoSuchPathError(Exception):
    """The sentence about a step that leads nowhere, and a hint."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _texts(value: Template, location: Location, findings: Findings) -> Iterator[tuple[Location, str]]:
    """Every text with an expression; names the structural keys on the way."""
    match value:
        case str():
            if "${" in value:
                yield location, value
        case dict():
            for key, item in value.items():
                if key in STRUCTURAL_KEYS:
                    findings.error((*location, key), f"the key `{key}` is not supported yet", key=True)
                yield from _texts(item, (*location, key), findings)
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, (*location, index), findings)


def _parses(text: str, location: Location, findings: Findings) -> bool:
    try:
        parse(text)
    except ExpressionError as error:
        start = text.rfind("\n", 0, error.position) + 1
        line = text[start:].partition("\n")[0]
        findings.error_in_text(location, line, error.message, offset=error.position - start)
        return False
    return True


def _check_use(use: Use, location: Location, place: Place, findings: Findings) -> None:
    expression = use.expression
    if expression.source not in place.sources:
        where = _ONLY_IN.get(expression.source, f"elsewhere, not in {place.name}")
        known = f"{place.name} reads {', '.join(place.sources)}"
        findings.error_in_text(location, expression.text, f"`{expression.source}` is known only {where}", known)
        return
    if expression.type is not None and not expression.type.known:
        meant = closest(expression.type.name, KNOWN_TYPES)
        findings.warn(
            location,
            f"the type `{expression.type.text}` is not known, so the value stays as it is",
            f"did you mean `{meant}`?" if meant else None,
            fragment=expression.text,
        )
    try:
        _check_path(expression, place, findings)
    except _NoSuchPathError as error:
        findings.error_in_text(location, expression.text, error.message, error.hint)


def _check_path(expression: Expression, place: Place, findings: Findings) -> None:
    shape, path = place.sources[expression.source], expression.path
    if expression.source == "jobs" and isinstance(shape, dict):
        job = str(path[0])
        if job not in shape:
            if job in findings.known.get("job", ()):
                return
            meant = closest(job, shape)
            hint = f"did you mean `{meant}`?" if meant else f"jobs: {', '.join(shape) or 'none'}"
            raise _NoSuchPathError(f"there is no job `{job}`", hint)
        output = shape[job]
        if isinstance(output, dict) and output.get("output") == NO_OUTPUT:
            hint = "read what one of the jobs that it leads to gives"
            raise _NoSuchPathError(f"job `{job}` only chooses where to go on and has no output", hint)
    _follow(shape, path)


def _follow(shape: Shape, path: tuple[Step, ...]) -> Shape:
    """The shape at the end of a path; raises _NoSuchPathError when it certainly leads nowhere."""
    for position, step in enumerate(path):
        if isinstance(shape, ListOf) and step is EACH:
            return ListOf(_follow(shape.item, path[position + 1 :]))
        shape = _step(shape, step)
    return shape


def _step(shape: Shape, step: Step) -> Shape:
    match shape:
        case None:
            return None
        case dict():
            return _part(shape, step)
        case ListOf():
            if isinstance(step, Slice):
                return ListOf(shape.item)
            if not isinstance(step, str):
                return shape.item
            if not shape.sure:
                return _step(shape.item, step)
            raise _NoSuchPathError(f"the result is a list and has no `{step}`", _of_items(step, shape.item))
    if isinstance(step, str):
        raise _NoSuchPathError(f"the result is plain text and has no `{step}`", "leave the path out")
    if shape == TEXT:
        raise _NoSuchPathError("the result is plain text, not a list", "leave the path out")
    return shape


def _of_items(step: str, item: Shape) -> str:
    """What to write for a name that a list does not have."""
    if not isinstance(item, dict):
        return "leave the path out"
    name = step if step in item else closest(step, item)
    return f"read one item's with `[0].{name}`, all with `[*].{name}`" if name else f"an item has: {', '.join(item)}"


def _part(shape: dict[str, Any], step: Step) -> Shape:
    if not isinstance(step, str):
        raise _NoSuchPathError("this is a map, not a list", "leave the index out")
    if step not in shape:
        meant = closest(step, shape)
        there = [name for name, part in shape.items() if not isinstance(part, Absent)]
        hint = f"did you mean `{meant}`?" if meant else f"it has: {', '.join(there)}" if there else None
        raise _NoSuchPathError(f"there is no `{step}` in this map", hint)
    part: Shape = shape[step]
    if isinstance(part, Absent):
        raise _NoSuchPathError(f"there is no `{step}` in this map", part.hint)
    return part
