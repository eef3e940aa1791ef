"""What a task is asked: an action's templates rendered into concrete, checked fields."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from services.catalog import MAX_SEED, Field
from services.errors import ServiceError
from services.router.expression import ConversionError, Template, Tree, render
from services.router.graph import Action, Component

LONGEST_MESSAGE = 300
"""Characters of a sentence that quotes a client's value."""
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def render_fields(component: Component, action: Action, scope: Mapping[str, Any]) -> dict[str, Any]:
    """The action's fields as the task reads them; raises ServiceError 422 that names a field that does not fit.

    A parameter whose value is missing is left out, and so is a message whose content is, but for the last one of the
    user.
    """
    fields = dict(action.constants)
    for name, tree in action.templates.items():
        value = render_input(tree, scope, name)
        if name == "messages" and isinstance(tree, list):
            value = _with_content(value, tree)
        if value is None:
            if name in component.task.parameters:
                continue
            _demand(name, tree)
        field = component.task.field(name)
        if field is None:
            raise KeyError(name)  # the graph has checked every name
        fields[name] = coerce(field, value)
    return fields


def _with_content(messages: list[Any], tree: list[Tree]) -> list[Any]:
    """The messages that say something. Raises ServiceError when the last one of the user does not."""
    users = [index for index, item in enumerate(messages) if isinstance(item, dict) and item.get("role") == "user"]
    for index in users[-1:]:
        written = tree[index]
        if messages[index].get("content") is None and isinstance(written, dict):
            _demand("messages", written.get("content"))
    return [item for item in messages if not (isinstance(item, dict) and item.get("content") is None)]


def _demand(field: str, tree: Tree) -> None:
    """Raises ServiceError for an expression that has no value where a field needs one."""
    expression = tree.whole if isinstance(tree, Template) else None
    if expression is None:
        return
    name = expression.path[0] if expression.source == "input" and expression.path else None
    message = f'"{field}" needs a value, and {expression.text} has none.'
    raise ServiceError(422, "missing_input", message, field=name if isinstance(name, str) else field)


def coerce(field: Field, value: Any) -> Any:
    """The value in the field's type; raises ServiceError 422 that names field and value."""
    try:
        return field.coerce(value)
    except ValueError as error:
        message = f'"{field.name}" {str(error)[:LONGEST_MESSAGE]}.'
        raise ServiceError(422, "invalid_parameter", message, field=field.name) from None


def with_history(messages: list[dict[str, str]], history: tuple[Mapping[str, str], ...]) -> list[dict[str, str]]:
    """The messages with the earlier turns before the last one of the user."""
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    place = users[-1] if users else len(messages)
    return [*messages[:place], *(dict(turn) for turn in history), *messages[place:]]


def choose_seed(fields: dict[str, Any], index: int, asked: int | str | None = None) -> int:
    """At most MAX_SEED: equal requests get equal seeds, each repeat its own; `seed: random` is taken out and drawn.

    asked: the run's own `seed`, for an action that names none.
    """
    if fields.get("seed", asked) == "random":
        fields.pop("seed", None)
        return secrets.randbelow(MAX_SEED + 1)
    if isinstance(asked, int):
        return (asked + index) & MAX_SEED
    canonical = _CANONICAL.encode([fields, index])
    return int.from_bytes(hashlib.sha256(canonical.encode()).digest()[:8], "big") & MAX_SEED


def render_input(tree: Tree, scope: Mapping[str, Any], field: str) -> Any:
    """The value of a template that a client's input decides; raises ServiceError 422 for a failed `as`."""
    try:
        return render(tree, scope)
    except ConversionError as error:
        raise ServiceError(
            422, "invalid_input", f'"{field}" cannot be made: {error.message[:LONGEST_MESSAGE]}.', field=field
        ) from None


def render_output(tree: Tree, scope: Mapping[str, Any]) -> Any:
    """The value of an `output` mapping; raises ServiceError 500 for a failed `as`."""
    try:
        return render(tree, scope)
    except ConversionError as error:
        raise ServiceError(
            500,
            "output_mapping_failed",
            f"The result does not fit the file's output: {error.message[:LONGEST_MESSAGE]}.",
            hint="Change the `output` of the workflow, job or action.",
        ) from None
