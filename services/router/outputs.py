"""What a workflow's output is made of, known before it runs: which texts pass through unchanged, and of what type."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from services.router.expression import Expression, Template, Tree


@dataclass(frozen=True, slots=True)
class Piped:
    """A job's result, unchanged, so that its text can be sent while it is made.

    one_call, one_result: an expression makes the result of each call, or that of all repeats, one text (`as markdown`);
    the parts of a list must not be sent then.
    """

    job: str
    type: str
    one_call: bool = False
    one_result: bool = False

    def repeated(self) -> "Piped":
        """The list of such results."""
        return Piped(self.job, "list", self.one_call)

    def carries(self, repeat: str, part: str) -> bool:
        """Whether text at these places (`[0]`, or empty) among the repeats and in the call's result is sent on."""
        return not (self.one_result and repeat) and not (self.one_call and part)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that is known only when it is there."""

    type: str


_UNMISTAKABLE = re.compile(r"[^.\[\]]+")

Shape = Piped | Opaque | dict[str, Any] | list[Any]
"""Maps and lists hold shapes again."""


def trace(tree: Tree, scope: Mapping[str, Shape]) -> Shape:
    """The shape that `render(tree, ...)` will have, when the names in `scope` have these shapes."""
    match tree:
        case Template():
            return Opaque("text") if tree.whole is None else _trace_expression(tree.whole, scope)
        case dict():
            return {key: trace(value, scope) for key, value in tree.items()}
        case list() | tuple():
            return [trace(value, scope) for value in tree]
        case bool():
            return Opaque("boolean")
        case int() | float():
            return Opaque("number")
        case _:
            return Opaque("text")


def _trace_expression(expression: Expression, scope: Mapping[str, Shape]) -> Shape:
    shape: Any = scope.get(expression.source, Opaque("json"))
    for step in expression.path:
        if isinstance(shape, dict) and isinstance(step, str):
            shape = shape.get(step, Opaque("json"))
        elif isinstance(shape, list) and isinstance(step, int) and -len(shape) <= step < len(shape):
            shape = shape[step]
        else:
            shape = Opaque("json")
    if expression.type is None or expression.type.stream:
        return cast(Shape, shape)
    word = expression.type.word
    if isinstance(shape, Piped) and word in ("text", "markdown"):
        return Piped(shape.job, word, one_call=True, one_result=True)
    return Opaque(word)


def default_output(outputs: list[Shape]) -> Shape:
    """The shape of a workflow without an `output`: the terminal jobs' maps merged, else the last one."""
    if not outputs:
        return Opaque("json")
    if all(isinstance(output, dict) for output in outputs):
        return {key: value for output in outputs if isinstance(output, dict) for key, value in output.items()}
    return outputs[-1]


def settled(shape: Shape) -> Shape:
    """The same shape with nothing in it to send before it is whole."""
    match shape:
        case Piped():
            return Opaque(shape.type)
        case dict():
            return {key: settled(value) for key, value in shape.items()}
        case list():
            return [settled(value) for value in shape]
    return shape


def pipes(shape: Shape, path: str = "") -> Iterator[tuple[Piped, str]]:
    """Every text that passes through, with its path in the output, such as `generated` or `answers[0].text`."""
    match shape:
        case Piped():
            yield shape, path
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
        return [{"name": key, "type": _word(value)} for key, value in shape.items()]
    return [{"name": None, "type": _word(shape)}]


def _word(shape: Shape) -> str:
    match shape:
        case Piped() | Opaque():
            return shape.type
        case dict():
            return "object"
        case list():
            return "list"
