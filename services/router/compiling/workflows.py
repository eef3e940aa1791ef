"""From a workflow's settings to its compiled form: jobs that fit each other, inputs, output and digest."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from services.router.analysis.outputs import Piped, describe, pipes
from services.router.analysis.reachability import cycle, unstartable
from services.router.analysis.reads import inferred
from services.router.analysis.templates import calls, job_uses
from services.router.compiling.components import Components, optional
from services.router.compiling.digest import digest
from services.router.compiling.jobs import compile_job
from services.router.compiling.shapes import output_shape
from services.router.expression import Tree, Use, walk
from services.router.graph import (
    Component,
    GraphError,
    Job,
    ModelCall,
    Router,
    Workflow,
    WorkflowCall,
    starts,
)
from services.router.settings import WorkflowSettings

_Workflows = Mapping[str, Workflow]


def compile_workflows(settings: Iterable[WorkflowSettings], components: Components) -> dict[str, Workflow]:
    """All workflows by id, in the order of the file. Raises GraphError."""
    written = {item.id: item for item in settings}
    jobs = {item.id: [compile_job(job, components) for job in item.jobs] for item in written.values()}
    called = {name: list(_called(items)) for name, items in jobs.items()}
    for name, others in called.items():
        if unknown := set(others) - set(written):
            raise GraphError(f"workflow {name!r} runs the unknown workflow {min(unknown)!r}")
    if circle := cycle(called):
        raise GraphError(f"these workflows run each other: {circle}")
    compiled: dict[str, Workflow] = {}
    for name in TopologicalSorter(called).static_order():
        try:
            compiled[name] = _workflow(written[name], _joined(jobs[name]), components, compiled)
        except GraphError as error:
            raise GraphError(f"workflow {name!r}: {error}") from error
    return {name: compiled[name] for name in written}


def _workflow(settings: WorkflowSettings, jobs: list[Job], components: Components, others: _Workflows) -> Workflow:
    output = optional(settings.output)
    _check_reads(walk(output), {job.id: job for job in jobs})
    terminal = _terminal(jobs)
    shape = output_shape(jobs, terminal, output, others)
    piped: dict[str, list[tuple[str, Piped]]] = {}
    for pipe, path in pipes(shape):
        piped.setdefault(pipe.job, []).append((path, pipe))
    inputs = inferred(jobs, output, {name: other.inputs for name, other in others.items()})
    models = _models(jobs, others)
    return Workflow(
        settings.id,
        tuple(replace(job, pipes=tuple(piped.get(job.id, ()))) for job in jobs),
        terminal,
        output,
        inputs,
        _asks_for_stream(jobs, output, others),
        settings.private,
        digest(settings, components, {name: others[name].digest for name in _called(jobs)}),
        {
            "workflow_id": settings.id,
            "title": settings.title or settings.name,
            "description": settings.description,
            "task": models[0].task.name if len(models) == 1 else None,
            "streaming": bool(piped),
            "history": sum(job.asks_chat for job in jobs) == 1,
            "input": [item.to_json() for item in inputs.declared],
            "output": describe(shape),
        },
        shape,
    )


def _joined(jobs: list[Job]) -> list[Job]:
    """The jobs, each told whether another routes to it. Raises GraphError when one cannot be found or started."""
    known = {job.id: job for job in jobs}
    for job in jobs:
        mentioned = {*job.targets, *(name for group in job.needs for name in group)}
        if unknown := mentioned - known.keys():
            raise GraphError(f"job {job.id!r} waits for or routes to the unknown job {min(unknown)!r}")
        _check_reads(job_uses(job), known)
    if circle := cycle({job.id: [name for group in job.needs for name in group] for job in jobs}):
        raise GraphError(f"these jobs wait for each other: {circle}")
    nodes = starts(jobs)
    if stuck := unstartable(nodes):
        raise GraphError(f"nothing can ever start these jobs: {stuck}")
    return [replace(job, routed=bool(nodes[job.id].routed_by)) for job in jobs]


def _check_reads(uses: Iterable[Use], jobs: Mapping[str, Job]) -> None:
    for use in uses:
        if use.expression.source == "jobs":
            job = jobs.get(str(use.expression.path[0]))
            if job is None or isinstance(job.work, Router):
                raise GraphError(f"{use.expression.text} is read, and no job of this name has an output")


def _terminal(jobs: list[Job]) -> tuple[str, ...]:
    """The jobs that a run may end with: nothing waits for them but routers that may lead nowhere."""
    waited_for = {name for job in jobs if job.leads_on for group in job.needs for name in group}
    return tuple(job.id for job in jobs if not isinstance(job.work, Router) and job.id not in waited_for)


def _called(jobs: Iterable[Job]) -> Iterator[str]:
    """The workflows that these jobs run."""
    return (call.workflow for job in jobs for call in calls(job.work) if isinstance(call, WorkflowCall))


def _models(jobs: Iterable[Job], others: _Workflows) -> list[Component]:
    """The model components that a run may ask, those of the workflows inside it included."""
    found: dict[str, Component] = {}
    inside: set[str] = set()
    waiting = [jobs]
    while waiting:
        for call in (call for job in waiting.pop() for call in calls(job.work)):
            if isinstance(call, ModelCall):
                found[call.component.id] = call.component
            elif call.workflow not in inside:
                inside.add(call.workflow)
                waiting.append(others[call.workflow].jobs)
    return list(found.values())


def _asks_for_stream(jobs: Iterable[Job], output: Tree | None, others: _Workflows) -> bool:
    """Whether the file wants a stream: by an action's `streaming: true`, or by an output `as stream/...`."""
    outputs = [output, *(job.output for job in jobs)]
    for call in (call for job in jobs for call in calls(job.work)):
        if call.action.streaming if isinstance(call, ModelCall) else others[call.workflow].streaming:
            return True
        outputs.append(call.action.output if isinstance(call, ModelCall) else call.output)
    expressions = (use.expression for tree in outputs for use in walk(tree))
    return any(item.stream or (item.type is not None and item.type.stream is not None) for item in expressions)
