"""Turns compiled templates into values; this happens many times a second, so nothing is parsed here."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from services.router.expression.conversion import convert, to_text
from services.router.expression.syntax import EACH, ConversionError, Expression, Slice, Step, Template, Tree
from services.router.names import fold


class _Missing(Enum):
    MISSING = "MISSING"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""What a path leads to when there is nothing; unlike None, it cannot be a value."""


def render(tree: Tree, scope: Mapping[str, Any]) -> Any:
    """The tree with every template replaced by its value; what is missing is None.

    scope: the values of the sources (`{"input": {...}, "index": 0, ...}`), made of dicts, lists and scalars; a source
    left out is missing. A whole expression yields the very object of the scope, not a copy. Raises ConversionError.
    """
    value = render_or_missing(tree, scope)
    return None if value is MISSING else value


def render_or_missing(tree: Tree, scope: Mapping[str, Any]) -> Any:
    """Like `render`, but MISSING when the tree itself is one expression without a value."""
    kind = type(tree)
    if kind is Template:
        return _template(tree, scope)
    if kind is dict:
        return {key: render(item, scope) for key, item in tree.items()}
    if kind is list:
        return [render(item, scope) for item in tree]
    return tree


def input_key(values: Mapping[str, Any], name: str) -> str | None:
    """The key that `${input.name}` reads: the same name, else the first that differs only in `-` and `_`."""
    if name in values:
        return name
    folded = fold(name)
    return next((key for key in values if isinstance(key, str) and fold(key) == folded), None)


def _template(template: Template, scope: Mapping[str, Any]) -> Any:
    parts = template.parts
    if len(parts) == 1:
        return _value(parts[0], scope) if isinstance(parts[0], Expression) else parts[0]
    return "".join([part if isinstance(part, str) else _as_text(part, scope) for part in parts])


def _as_text(expression: Expression, scope: Mapping[str, Any]) -> str:
    value = _value(expression, scope)
    if type(value) is str:
        return value
    try:
        return "" if value is MISSING else to_text(value)
    except ValueError as error:
        raise ConversionError(f"{_shown(expression)}: {error}") from None


def _shown(expression: Expression) -> str:
    """As written, but for the description, which says nothing to whoever reads an error."""
    before, annotation, _ = expression.text.rpartition("@(")
    return f"{before.rstrip()}}}" if annotation and expression.description is not None else expression.text


def _value(expression: Expression, scope: Mapping[str, Any]) -> Any:
    value = scope.get(expression.source, MISSING)
    path = expression.path
    if path:
        if expression.source == "input" and type(path[0]) is str and isinstance(value, dict):
            key = input_key(value, path[0])
            value = _follow(value[key], path[1:], scope) if key is not None else MISSING
        else:
            value = _follow(value, path, scope)
    if (value is None or value is MISSING) and expression.default is not None:
        value = _template(expression.default, scope)
    if expression.type is None or value is None or value is MISSING:
        return value
    try:
        return convert(value, expression.type)
    except ValueError as error:
        raise ConversionError(f"{_shown(expression)}: {error}") from None


def _follow(value: Any, path: tuple[Step, ...], scope: Mapping[str, Any]) -> Any:
    for position, step in enumerate(path):
        if type(step) is str:
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        elif step is EACH:
            if not isinstance(value, list):
                return MISSING
            found = [_follow(item, path[position + 1 :], scope) for item in value]
            return [None if item is MISSING else item for item in found]
        elif isinstance(step, Slice):
            value = value[step.start : step.stop] if isinstance(value, list) else MISSING
        elif isinstance(step, Template):
            value = _item(value, _template(step, scope))
        else:
            value = _item(value, step)
        if value is MISSING:
            return MISSING
    return value


def _item(value: Any, index: Any) -> Any:
    """The item of a list at a number, or at text that reads as one; the value of an object at a text."""
    if isinstance(value, dict):
        return value.get(index, MISSING) if isinstance(index, str) else MISSING
    if isinstance(index, str) and index.removeprefix("-").isdecimal() and len(index) < 10:
        index = int(index)
    if not isinstance(value, list) or not isinstance(index, int) or isinstance(index, bool):
        return MISSING
    return value[index] if -len(value) <= index < len(value) else MISSING
