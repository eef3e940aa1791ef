"""Makes the typed graph of the settings, once, when the router starts."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from services.catalog import TASKS, TaskType
from services.router.expression import Template, Tree, compile_tree, walk
from services.router.graph import (
    Action,
    CallWork,
    Component,
    Graph,
    GraphError,
    Job,
    ModelCall,
    Workflow,
)
from services.router.inputs import action_reads, collect, job_reads
from services.router.outputs import Opaque, Piped, Shape, default_output, describe, pipes, trace
from services.router.settings import (
    ActionSettings,
    ComponentJobSettings,
    ComponentSettings,
    JobSettings,
    RouterSettings,
    WorkflowSettings,
)


def compile_graph(settings: RouterSettings) -> Graph:
    """The graph of these settings; raises GraphError, or ExpressionError for a template that does not parse."""
    components = {item.id: _component(item) for item in settings.components if isinstance(item, ComponentSettings)}
    workflows = {item.id: _workflow(item, components) for item in settings.workflows}
    marked = [item.id for item in settings.workflows if item.default]
    chosen = list(workflows) if len(workflows) == 1 else marked
    return Graph(components, workflows, workflows[chosen[0]] if len(chosen) == 1 else None)


def _component(settings: ComponentSettings) -> Component:
    task = TASKS.get(settings.task)
    if task is None:
        raise GraphError(f"component {settings.id!r} has the unknown task {settings.task!r}")
    return Component(
        settings.id,
        task,
        settings.model,
        settings.endpoint,
        {action.id: _action(action, task) for action in settings.actions},
        settings.max_concurrent_count,
        settings.max_queue_length,
    )


def _action(settings: ActionSettings, task: TaskType) -> Action:
    constants: dict[str, Any] = {}
    templates: dict[str, Tree] = {}
    for name, value in settings.fields.items():
        field = task.field(name)
        if field is None:
            raise GraphError(f"action {settings.id!r} has the unknown field {name!r}")
        tree = compile_tree(value)
        if _has_template(tree):
            templates[name] = tree
        elif tree is not None:
            try:
                constants[name] = field.coerce(tree)
            except ValueError as error:
                raise GraphError(f"action {settings.id!r}: {name} {error}") from error
    return Action(settings.id, constants, templates, _optional(settings.output), settings.streaming)


def _workflow(settings: WorkflowSettings, components: Mapping[str, Component]) -> Workflow:
    output = _optional(settings.output)
    jobs = [_job(job, components) for job in settings.jobs]
    ids = [job.id for job in jobs]
    waited_for = {need for job in jobs for group in job.needs for need in group}
    if unknown := waited_for - set(ids):
        raise GraphError(f"workflow {settings.id!r} waits for the unknown job {min(unknown)!r}")
    try:
        TopologicalSorter({job.id: {need for group in job.needs for need in group} for job in jobs}).prepare()
    except CycleError as error:
        raise GraphError(f"the jobs of workflow {settings.id!r} wait for each other: {error.args[1]}") from error
    terminal = tuple(job for job in ids if job not in waited_for)
    shapes = {job.id: _job_shape(job) for job in jobs}
    last = default_output([shapes[job] for job in terminal])
    scope: dict[str, Shape] = {"output": last, "jobs": {job: {"output": shape} for job, shape in shapes.items()}}
    shape = last if output is None else trace(output, scope)
    inputs = collect((read for job in jobs for read in _all_reads(job)), output)
    streamed = any(_call(job).action.streaming for job in jobs) or any(
        use.expression.stream or (use.expression.type is not None and use.expression.type.stream is not None)
        for tree in (output, *(job.output for job in jobs), *(_call(job).action.output for job in jobs))
        for use in walk(tree)
    )
    piped: dict[str, list[tuple[str, Piped]]] = {}
    for pipe, path in pipes(shape):
        piped.setdefault(pipe.job, []).append((path, pipe))
    return Workflow(
        settings.id,
        tuple(replace(job, pipes=tuple(piped.get(job.id, ()))) for job in jobs),
        terminal,
        output,
        inputs,
        streamed,
        settings.private,
        hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
        {
            "workflow_id": settings.id,
            "title": settings.title or settings.name,
            "description": settings.description,
            "task": _call(jobs[0]).component.task.name if len({_call(job).component.id for job in jobs}) == 1 else None,
            "streaming": bool(piped),
            "input": [item.to_json() for item in inputs.declared],
            "output": describe(shape),
        },
    )


def _job(settings: JobSettings, components: Mapping[str, Component]) -> Job:
    if not isinstance(settings, ComponentJobSettings):
        raise GraphError(f"job {settings.id!r} is of a type that cannot be run")
    try:
        component = components[settings.component]
        action = component.actions[settings.action]
    except KeyError as error:
        raise GraphError(f"job {settings.id!r} asks for the unknown {error.args[0]!r}") from error
    call = ModelCall(component, action, _optional(settings.input))
    repeat_count, output = _optional(settings.repeat_count), _optional(settings.output)
    read = {use for tree in (call.input, repeat_count, output) for use in _jobs_read(tree)}
    named = {need for group in settings.depends_on for need in group}
    needs = (*settings.depends_on, *((need,) for need in sorted(read - named)))
    return Job(settings.id, needs, CallWork(call, repeat_count), output)


def _call(job: Job) -> ModelCall:
    assert isinstance(job.work, CallWork)
    assert isinstance(job.work.call, ModelCall)
    return job.work.call


def _jobs_read(tree: Tree | None) -> Iterator[str]:
    for use in walk(tree):
        if use.expression.source == "jobs" and use.expression.path and isinstance(use.expression.path[0], str):
            yield use.expression.path[0]


def _job_shape(job: Job) -> Shape:
    call = _call(job)
    result: Shape = Piped(job.id, call.component.task.result)
    if call.action.output is not None:
        result = trace(call.action.output, {"result": result, "output": result})
    if isinstance(job.work, CallWork) and job.work.repeat_count is not None:
        result = result.repeated() if isinstance(result, Piped) else Opaque("list")
    return result if job.output is None else trace(job.output, {"output": result})


def _all_reads(job: Job) -> Iterator[Any]:
    call = _call(job)
    reads = action_reads(call.component.task, call.action.templates)
    assert isinstance(job.work, CallWork)
    return job_reads(reads, call.input, job.work.repeat_count, job.output)


def _optional(value: Any) -> Tree | None:
    return None if value is None else compile_tree(value)


def _has_template(tree: Tree) -> bool:
    return isinstance(tree, Template) or next(iter(walk(tree)), None) is not None
