"""What is known of a model's answer before the run, told from what its action asks."""

from collections.abc import Mapping

from compose.checks.expressions import TEXT, TEXTS, Absent, ListOf, Shape, listed, mapped, shape_of
from compose.spec import ActionSpec, ModelComponentSpec
from compose.templates import constant, with_defaults
from compose.written import Template
from services.catalog import TASKS, Part, TaskType
from services.router.expression import ExpressionError, compile_tree


def result_shape(component: ModelComponentSpec, action: ActionSpec) -> Shape:
    """Of an action's result, its own `output` mapping included."""
    return mapped(action.output, own_result(TASKS[component.task], action.fields))


def own_result(task: TaskType, fields: Mapping[str, Template]) -> Shape:
    """Of what the model itself answers; a list of inputs gives a list."""
    asked = with_defaults(task, dict(fields))
    read = [asked[name] for name, field in task.fields.items() if field.kind == "text-or-list" and name in asked]
    many = {_is_list(template) for template in read}
    if task.result == "text":
        return TEXT if many <= {False} and "num_return_sequences" not in asked else TEXTS
    parts = {name: _part(part, asked) for name, part in task.parts.items()}
    one = parts if task.result == "object" else ListOf(parts or None)
    return one if many <= {False} else listed(one, sure=many == {True})


def _is_list(template: Template) -> bool | None:
    """None when only the run tells."""
    if isinstance(template, list):
        return True
    try:
        return False if shape_of(compile_tree(template), {}) == TEXT else None
    except ExpressionError:
        return None


def _part(part: Part, fields: Mapping[str, Template]) -> Shape:
    if part.flag is not None and _is_off(fields.get(part.flag, part.by_default)):
        return Absent(f"write `{part.flag}: true` for it")
    return TEXT if part.word == "text" else None


def _is_off(flag: Template) -> bool:
    try:
        return str(constant(flag)).lower() == "false"
    except (ExpressionError, LookupError):
        return False
