"""What a workflow's output is made of, known before it runs: which texts pass through unchanged, and of what type."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.router.analysis.reachability import Choices
from services.router.expression import EACH, Expression, Slice, Step, Template, Tree


@dataclass(frozen=True, slots=True)
class Piped:
    """A job's result, unchanged, so that its text can be sent while it is made.

    inner: where the text stands in the output of the workflow that the job runs; empty for a model's result.
    one_call, one_result: an expression makes the result of each call, or that of all repeats, one text (`as markdown`);
    the parts of a list must not be sent then.
    """

    job: str
    type: str
    one_call: bool = False
    one_result: bool = False
    inner: str = ""
    choices: Choices = frozenset()

    def repeated(self) -> "Piped":
        """The list of such results."""
        return replace(self, type="list", one_result=False)

    def carries(self, repeat: str, part: str) -> bool:
        """Whether text at these places (`[0]`, or empty) among the repeats and in the call's result is sent on."""
        return not (self.one_result and repeat) and not (self.one_call and part)

    def part(self, path: str) -> str | None:
        """Which part of this text stands at a path in the inner workflow's output: `[0]`, or empty for all of it; None
        when none does."""
        rest = path[len(self.inner) :]
        return rest if path.startswith(self.inner) and (not rest or rest.startswith("[")) else None

    def excludes(self, other: "Shape") -> bool:
        """Whether never both are there, because one router chose between them."""
        return isinstance(other, Piped) and any(
            router == other_router and target != other_target
            for router, target in self.choices
            for other_router, other_target in other.choices
        )


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that is known only when it is there.

    item: the shape of what a `list` holds, where that is known. Of `json` it means one such value or a list of them.
    """

    type: str
    item: "Shape | None" = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Either:
    """The first of these that is there."""

    parts: tuple[Piped | Opaque, ...]


UNKNOWN = Opaque("json")

_UNMISTAKABLE = re.compile(r"[^.\[\]]+")

Shape = Piped | Opaque | Either | dict[str, Any] | list[Any]
"""Maps and lists hold shapes again."""


def shape_of(tree: Tree, scope: Mapping[str, Shape]) -> Shape:
    """The shape that `render(tree, ...)` will have, when the names in `scope` have these shapes."""
    match tree:
        case Template():
            return Opaque("text") if tree.whole is None else _shape_of_expression(tree.whole, scope)
        case dict():
            return {key: shape_of(value, scope) for key, value in tree.items()}
        case list() | tuple():
            return [shape_of(value, scope) for value in tree]
        case bool():
            return Opaque("boolean")
        case int() | float():
            return Opaque("number")
        case _:
            return Opaque("text")


def _shape_of_expression(expression: Expression, scope: Mapping[str, Shape]) -> Shape:
    shape = _follow(scope.get(expression.source, UNKNOWN), expression.path)
    if expression.default is not None and expression.default.whole is not None:
        shape = first_there([shape, shape_of(expression.default, scope)])
    if expression.type is None or expression.type.stream:
        return shape
    return _converted(shape, expression.type.word)


def _follow(shape: Shape, path: Sequence[Step]) -> Shape:
    for position, step in enumerate(path):
        match shape, step:
            case dict(), str():
                shape = shape.get(step, UNKNOWN)
            case list(), int() if -len(shape) <= step < len(shape):
                shape = shape[step]
            case Opaque(item=item), _ if item is not None and step is EACH:
                return Opaque("list", _follow(item, path[position + 1 :]))
            case Opaque(item=item), Slice() if item is not None:
                shape = Opaque("list", item)
            case Opaque(type="json", item=dict() as item), str():
                shape = item.get(step, UNKNOWN)
            case Opaque(item=item), int() | Template() if item is not None:
                shape = item
            case _:
                return UNKNOWN
    return shape


def _converted(shape: Shape, word: str) -> Shape:
    match shape:
        case Piped() if word in ("text", "markdown"):
            return replace(shape, type=word, one_call=True, one_result=True)
        case Either():
            return first_there([_converted(part, word) for part in shape.parts])
    return Opaque(word)


def first_there(shapes: Sequence[Shape]) -> Shape:
    """The first of these values that is there. Text of a later one is sent while it is made only when that is the only
    one."""
    parts: list[Piped | Opaque] = []
    for shape in shapes:
        for part in shape.parts if isinstance(shape, Either) else (shape,):
            if isinstance(part, dict | list):
                return shapes[0]
            alone = not isinstance(part, Piped) or all(part.excludes(earlier) for earlier in parts)
            parts.append(part if alone else Opaque(part.type))
    if len(shapes) == 1:
        return shapes[0]
    parts = [Opaque(part.type) if isinstance(part, Opaque) else part for part in dict.fromkeys(parts)]
    return parts[0] if len(parts) == 1 else Either(tuple(parts))


def last_there(shapes: Sequence[Shape]) -> Shape:
    """The shape of a workflow without an `output`: the terminal jobs' maps merged, else the last one that is there."""
    if not shapes:
        return UNKNOWN
    maps = [shape for shape in shapes if isinstance(shape, dict)]
    if len(maps) < len(shapes):
        return first_there(shapes[::-1])
    names = dict.fromkeys(name for shape in maps for name in shape)
    return {name: first_there([shape[name] for shape in maps[::-1] if name in shape]) for name in names}


def opaque(shape: Shape) -> Shape:
    """The same shape with nothing in it to send before it is whole."""
    match shape:
        case Piped():
            return Opaque(shape.type)
        case Either():
            return first_there([opaque(part) for part in shape.parts])
        case dict():
            return {key: opaque(value) for key, value in shape.items()}
        case list():
            return [opaque(value) for value in shape]
    return shape


def from_inside(shape: Shape, job: str, choices: Choices, path: str = "") -> Shape:
    """The shape of another workflow's output as the result of the job that runs it."""
    match shape:
        case Piped():
            return Piped(job, shape.type, inner=path, choices=choices)
        case Either() if any(isinstance(part, Piped) for part in shape.parts):
            return Piped(job, word_of(shape), inner=path, choices=choices)
        case dict():
            return {key: from_inside(value, job, choices, _inner(path, key)) for key, value in shape.items()}
        case list():
            return [from_inside(value, job, choices, f"{path}[{index}]") for index, value in enumerate(shape)]
    return shape


def pipes(shape: Shape, path: str = "") -> Iterator[tuple[Piped, str]]:
    """Every text that passes through, with its path in the output, such as `generated` or `answers[0].text`."""
    match shape:
        case Piped():
            yield shape, path
        case Either():
            for part in shape.parts:
                yield from pipes(part, path)
        case dict():
            for key, value in shape.items():
                yield from pipes(value, _inner(path, key))
        case list():
            for index, value in enumerate(shape):
                yield from pipes(value, f"{path}[{index}]")


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a finished output, with its path in the same notation."""
    match value:
        case str():
            yield path, value
        case dict():
            for key, item in value.items():
                yield from texts(item, _inner(path, str(key)))
        case list():
            for index, item in enumerate(value):
                yield from texts(item, f"{path}[{index}]")


def _inner(path: str, key: str) -> str:
    """The path one name deeper; a name that would read as several, or as none, is quoted."""
    if not _UNMISTAKABLE.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def describe(shape: Shape) -> list[dict[str, Any]]:
    """The `output` of a workflow's schema: one entry a name, or one without name for an unmapped output."""
    if isinstance(shape, dict):
        return [{"name": key, "type": word_of(value)} for key, value in shape.items()]
    return [{"name": None, "type": word_of(shape)}]


def word_of(shape: Shape) -> str:
    """The type of a value of this shape, in an expression's words."""
    match shape:
        case Piped() | Opaque():
            return shape.type
        case Either():
            words = {part.type for part in shape.parts}
            return words.pop() if len(words) == 1 else "json"
        case dict():
            return "object"
        case list():
            return "list"
