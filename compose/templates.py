"""What can be said of templates before a run: which names they read, and what an action asks when it says nothing."""

from collections.abc import Iterator
from typing import Any

from compose.reading.interpolation import EnvText
from compose.spec import ComposeSpec, JobSpec
from compose.written import Template
from services.catalog import Field, TaskType
from services.router.expression import Use, compile_tree, walk


def uses(template: Template) -> Iterator[Use]:
    """Every expression of data that parses."""
    return walk(compile_tree(template))


def environment_read(spec: ComposeSpec) -> set[str]:
    """The names of the variables that the templates of a file read."""
    return {
        str(use.expression.path[0])
        for template in _of_file(spec)
        for use in uses(template)
        if use.expression.source == "env"
    }


def jobs_read(job: JobSpec) -> tuple[str, ...]:
    """The ids of the jobs whose output this one reads, in the order of their first use."""
    read = (use.expression for use in uses(_of_job(job)) if use.expression.source == "jobs")
    return tuple(dict.fromkeys(str(expression.path[0]) for expression in read))


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


def with_defaults(task: TaskType, fields: dict[str, Template]) -> dict[str, Template]:
    """An action's fields, with the task's own template for each that it leaves out."""
    given = {task.same_as.get(name, name) for name in fields}
    return {**{name: template for name, template in task.defaults.items() if name not in given}, **fields}


def typed(task: TaskType, fields: dict[str, Template]) -> dict[str, Template]:
    """The same fields, every literal in its own type.

    Templates keep their text, also those that read only the environment: the router renders them. Raises ValueError.
    """
    return {name: _typed(task.field(name), value) for name, value in fields.items()}


def _of_file(spec: ComposeSpec) -> Iterator[Template]:
    """Every template; titles, names and settings are none, whatever they look like."""
    for component in spec.components:
        yield [action.model_dump(exclude={"id"}) for action in component.actions]
    for workflow in spec.workflows:
        yield [workflow.output, *map(_of_job, workflow.jobs)]


def _of_job(job: JobSpec) -> Template:
    return job.model_dump(exclude={"id", "name", "type", "depends_on"})


def _typed(field: Field | None, value: Template) -> Template:
    if field is None or field.kind == "messages" or any(uses(value)):
        return value
    return field.coerce(value)
