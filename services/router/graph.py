"""The file's components and workflows as a typed graph, compiled once so that a run parses nothing.

Other kinds of jobs join as further members of `Work`; dependencies, order and outputs are the same for all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from services.catalog import TASKS, TaskType
from services.errors import ServiceError
from services.router.expression import Template, Tree, compile_tree, walk
from services.router.inputs import Inputs, action_reads, collect, job_reads
from services.router.names import did_you_mean, listed
from services.router.outputs import Opaque, Piped, Shape, default_output, describe, pipes, trace
from services.router.settings import (
    ActionSettings,
    ComponentSettings,
    JobSettings,
    RouterSettings,
    WorkflowSettings,
)


class GraphError(ValueError):
    """The settings do not fit together; `compose` has checked the file, so this is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked of a component: `constants` are final values by catalog name, `templates` are rendered per run."""

    id: str
    constants: Mapping[str, Any]
    templates: Mapping[str, Tree]
    output: Tree | None
    streaming: bool


@dataclass(frozen=True, slots=True)
class Component:
    """One model task service."""

    id: str
    task: TaskType
    endpoint: str
    actions: Mapping[str, Action]
    max_concurrent_count: int
    max_queue_length: int


@dataclass(frozen=True, slots=True)
class ComponentCall:
    """The work of a component job. input: None passes the workflow's input on."""

    component: Component
    action: Action
    input: Tree | None
    repeat_count: Tree | None

    @property
    def is_chat(self) -> bool:
        return "messages" in self.component.task.fields


Work = ComponentCall


@dataclass(frozen=True, slots=True)
class Job:
    """One node. needs: groups of job ids; the job may start once of each group one has run.

    output: None passes the result on. pipes: where its text, unchanged, stands in the workflow's output.
    """

    id: str
    needs: tuple[tuple[str, ...], ...]
    work: Work
    output: Tree | None
    pipes: tuple[tuple[str, Piped], ...] = ()


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow. terminal: the ids of the jobs that no other one waits for, in file order.

    streaming: the file asks for a stream (`streaming: true`, or an output `as stream/...`).
    """

    id: str
    jobs: tuple[Job, ...]
    terminal: tuple[str, ...]
    output: Tree | None
    inputs: Inputs
    streaming: bool
    private: bool
    schema: Mapping[str, Any]

    @property
    def chat_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.work.is_chat]


@dataclass(frozen=True, slots=True)
class Graph:
    """All components and workflows by id; `default` is the workflow that runs when none is named."""

    components: Mapping[str, Component]
    workflows: Mapping[str, Workflow]
    default: Workflow | None

    def workflow(self, workflow_id: str | None) -> Workflow:
        """The workflow that a client means; raises ServiceError 404 or, when it must choose, 422."""
        public = [workflow.id for workflow in self.workflows.values() if not workflow.private]
        if workflow_id is None:
            if self.default is None:
                raise ServiceError(
                    422,
                    "workflow_required",
                    "The file has several workflows and none of them is the default.",
                    hint=f'Set "workflow_id" to one of {listed(public)}.',
                    field="workflow_id",
                )
            return self.default
        workflow = self.workflows.get(workflow_id)
        if workflow is None or workflow.private:
            near = did_you_mean(workflow_id, public)
            known = f"Known: {listed(public)}." if public else "The file has no public workflow."
            raise ServiceError(
                404,
                "unknown_workflow",
                f'There is no workflow "{workflow_id[:80]}".',
                hint=f"{near} {known}" if near else known,
                field="workflow_id",
            )
        return workflow


def compile_graph(settings: RouterSettings) -> Graph:
    """The graph of these settings; raises GraphError, or ExpressionError for a template that does not parse."""
    components = {item.id: _component(item) for item in settings.components}
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
    streamed = any(job.work.action.streaming for job in jobs) or any(
        use.expression.stream or (use.expression.type is not None and use.expression.type.stream is not None)
        for tree in (output, *(job.output for job in jobs), *(job.work.action.output for job in jobs))
        for use in walk(tree)
    )
    piped: dict[str, list[tuple[str, Piped]]] = {}
    for pipe, path in pipes(shape):
        piped.setdefault(pipe.job, []).append((path, pipe))
    return Workflow(
        settings.id,
        tuple(Job(job.id, job.needs, job.work, job.output, tuple(piped.get(job.id, ()))) for job in jobs),
        terminal,
        output,
        inputs,
        streamed,
        settings.private,
        {
            "workflow_id": settings.id,
            "title": settings.title or settings.name,
            "description": settings.description,
            "task": jobs[0].work.component.task.name if len({job.work.component.id for job in jobs}) == 1 else None,
            "streaming": bool(piped),
            "input": [item.to_json() for item in inputs.declared],
            "output": describe(shape),
        },
    )


def _job(settings: JobSettings, components: Mapping[str, Component]) -> Job:
    try:
        component = components[settings.component]
        action = component.actions[settings.action]
    except KeyError as error:
        raise GraphError(f"job {settings.id!r} asks for the unknown {error.args[0]!r}") from error
    call = ComponentCall(component, action, _optional(settings.input), _optional(settings.repeat_count))
    output = _optional(settings.output)
    read = {use for tree in (call.input, call.repeat_count, output) for use in _jobs_read(tree)}
    needs = dict.fromkeys([*settings.depends_on, *sorted(read)])
    return Job(settings.id, tuple((need,) for need in needs), call, output)


def _jobs_read(tree: Tree | None) -> Iterator[str]:
    for use in walk(tree):
        if use.expression.source == "jobs" and use.expression.path and isinstance(use.expression.path[0], str):
            yield use.expression.path[0]


def _job_shape(job: Job) -> Shape:
    call = job.work
    result: Shape = Piped(job.id, call.component.task.result)
    if call.action.output is not None:
        result = trace(call.action.output, {"result": result, "output": result})
    if call.repeat_count is not None:
        result = result.repeated() if isinstance(result, Piped) else Opaque("list")
    return result if job.output is None else trace(job.output, {"output": result})


def _all_reads(job: Job) -> Iterator[Any]:
    call = job.work
    reads = action_reads(call.component.task, call.action.templates)
    return job_reads(reads, call.input, call.repeat_count, job.output)


def _optional(value: Any) -> Tree | None:
    return None if value is None else compile_tree(value)


def _has_template(tree: Tree) -> bool:
    return isinstance(tree, Template) or next(iter(walk(tree)), None) is not None
