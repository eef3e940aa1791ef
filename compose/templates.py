"""What can be said of templates before a run: which names they read, and what an action asks when it says nothing."""

from collections.abc import Iterator
from typing import Any

from compose.interpolation import EnvText
from compose.spec import JobSpec, Template
from services.catalog import TASKS, TaskType
from services.router.expression import Use, compile_tree, walk


def uses(template: Template) -> Iterator[Use]:
    """Every expression of data that parses."""
    return walk(compile_tree(template))


def environment_read(template: Template) -> set[str]:
    """The names of the variables that the templates read."""
    return {str(use.expression.path[0]) for use in uses(template) if use.expression.source == "env"}


def jobs_read(job: JobSpec) -> tuple[str, ...]:
    """The ids of the jobs whose output this one reads, in the order of their first use."""
    templates = [job.input, job.repeat_count, job.output]
    return tuple(
        dict.fromkeys(str(use.expression.path[0]) for use in uses(templates) if use.expression.source == "jobs")
    )


def is_constant(template: Template) -> bool:
    """Whether the value is known now: it reads nothing but the environment."""
    return all(use.expression.source == "env" for use in uses(template))


def constant(template: Template) -> Any:
    """The value of a constant template. Raises LookupError when it reads a variable that is not set."""
    match template:
        case EnvText():
            return template.resolved
        case dict():
            return {key: constant(item) for key, item in template.items()}
        case list():
            return [constant(item) for item in template]
    if any(uses(template)):
        raise LookupError(template)
    return compile_tree(template)


def has_input(task: TaskType, fields: dict[str, Template]) -> bool:
    """Whether an action says what the model reads, beside how it answers."""
    return any(task.fields[name].kind != "boolean" for name in fields if name in task.fields)


def fill(task_name: str, fields: dict[str, Template]) -> dict[str, Template]:
    """An action's fields with the task's default templates, and every literal in its own type.

    Templates keep their text, also those that read only the environment: the router renders them.
    """
    task = TASKS[task_name]
    filled = fields if has_input(task, fields) else {**task.defaults, **fields}
    return {name: _typed(task, name, value) for name, value in filled.items()}


def _typed(task: TaskType, name: str, value: Template) -> Template:
    field = task.field(name)
    if field is None or field.kind == "messages" or any(uses(value)):
        return value
    return field.coerce(value)
