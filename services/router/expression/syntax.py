"""What an expression is once it is read, and how to visit every one of them in a file's data."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from services.router.expression.conversion import TypeSpec


class ExpressionError(ValueError):
    """An expression that cannot be read. position: offset into the text that was parsed."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class ConversionError(ExpressionError):
    """A value that cannot become what the expression's `as` asks for; the message names the expression."""


class _Each(Enum):
    EACH = "[*]"


EACH = _Each.EACH
"""The step `[*]`: the rest of the path is followed from each item of a list."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The step `[start:stop]`."""

    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Expression:
    """One `${...}`.

    path: what follows the source; a Template is an expression that yields an index or a key. For `jobs.a.output.x` it
    starts with the names "a" and "output". stream: `result[]`. text: as written.
    """

    source: str
    path: tuple["Step", ...]
    stream: bool
    type: TypeSpec | None
    default: "Template | None"
    description: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions in it, in order; no two texts stand side by side, and none is empty."""

    parts: tuple[str | Expression, ...]

    @property
    def whole(self) -> Expression | None:
        """The expression when there is nothing else, so that its value keeps its type."""
        match self.parts:
            case (Expression() as expression,):
                return expression
        return None

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def literal(self) -> str | None:
        """The text when there is no expression in it."""
        return None if self.expressions else "".join(part for part in self.parts if isinstance(part, str))


Step = str | int | Slice | Literal[_Each.EACH] | Template
Tree = Any
"""A dict, list or scalar as YAML gives it, with a Template wherever a text holds an expression."""


@dataclass(frozen=True, slots=True)
class Use:
    """Where one expression stands in a tree.

    location: keys and indexes from the root to the scalar. whole: the scalar is nothing but this expression.
    only: no other expression decides the scalar, with text around it or not. in_default, in_index: it stands in
    another's default or index; then it is neither whole nor only.
    """

    expression: Expression
    location: tuple[str | int, ...]
    whole: bool = False
    only: bool = False
    in_default: bool = False
    in_index: bool = False


def walk(tree: Tree, location: tuple[str | int, ...] = ()) -> Iterator[Use]:
    """Every expression of a compiled tree in the order of its text, an outer one before those inside it."""
    match tree:
        case Template():
            for expression in tree.expressions:
                yield Use(expression, location, whole=len(tree.parts) == 1, only=len(tree.expressions) == 1)
                yield from _nested(expression, location, in_default=False, in_index=False)
        case dict():
            for key, item in tree.items():
                yield from walk(item, (*location, key))
        case list():
            for index, item in enumerate(tree):
                yield from walk(item, (*location, index))


def _nested(outer: Expression, location: tuple[str | int, ...], *, in_default: bool, in_index: bool) -> Iterator[Use]:
    inside = [(step, in_default, True) for step in outer.path if isinstance(step, Template)]
    if outer.default is not None:
        inside.append((outer.default, True, in_index))
    for template, as_default, as_index in inside:
        for expression in template.expressions:
            yield Use(expression, location, in_default=as_default, in_index=as_index)
            yield from _nested(expression, location, in_default=as_default, in_index=as_index)
