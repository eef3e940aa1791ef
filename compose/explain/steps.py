"""The jobs of a compiled workflow in the order in which they can run: what each one awaits, reads and leads to."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from compose.explain.explanation import Step, Wait, Way
from compose.explain.places import key_path, read_by
from compose.explain.words import does, limits, on_error, retry, ways
from services.router.analysis.reachability import in_order, visited_again
from services.router.analysis.templates import calls, job_uses
from services.router.expression import Expression, walk
from services.router.graph import Call, ForEachWork, Graph, Job, LoopWork, ModelCall, Workflow, starts
from services.router.settings import WorkflowSettings

_OWN: Final = ("output", "result")
"""What a job reads of its own result."""

_OF_LOOP: Final = " of the loop"
"""Said of an `input` that is what a loop begins with, and then what it gave last."""


def steps(workflow: Workflow, settings: WorkflowSettings, graph: Graph) -> tuple[Step, ...]:
    """All jobs, each after what it waits for; in the order of the file among those that may run at the same time."""
    nodes = starts(workflow.jobs)
    again = visited_again(nodes)
    jobs = {job.id: (job, written) for job, written in zip(workflow.jobs, settings.jobs, strict=True)}
    return tuple(
        Step(
            job.id,
            written.type,
            does(job.work),
            tuple(nodes[job.id].routed_by),
            tuple(_waits(job, written.depends_on)),
            tuple(dict.fromkeys(_reads(job, graph))),
            tuple(Way(when, to) for when, to in ways(job.work)),
            retry(job.retry) if job.retry else None,
            on_error(job.on_error) if job.on_error else None,
            tuple(limits(job, may_return=job.id in again)),
            tuple(_goes_to(job.id, workflow)),
        )
        for job, written in map(jobs.__getitem__, in_order(nodes))
    )


def _waits(job: Job, depends_on: Collection[tuple[str, ...]]) -> Iterator[Wait]:
    readers: dict[str, list[str]] = {}
    for use in job_uses(job):
        if use.expression.source == "jobs":
            readers.setdefault(str(use.expression.path[0]), []).append(key_path(use.location))
    for group in job.needs:
        if group in depends_on:
            yield Wait(group, "depends_on")
        else:
            yield Wait(group, ", ".join(dict.fromkeys(readers[group[0]])))


def _reads(job: Job, graph: Graph) -> Iterator[str]:
    """What a job reads: by its own templates, and by its action where that sees the same input."""
    in_loop = isinstance(job.work, LoopWork)
    for use in job_uses(job):
        if use.expression.source not in _OWN:
            of_loop = in_loop and use.expression.source == "input" and use.location[0] == "do"
            yield read_by(use.expression) + (_OF_LOOP if of_loop else "")
    for call in calls(job.work):
        for expression in _read_by_action(call, graph):
            if expression.source != "input":
                yield read_by(expression)
            elif call.input is None and isinstance(job.work, ForEachWork):
                yield read_by(replace(expression, source="item"))
            elif call.input is None:
                yield read_by(expression) + (_OF_LOOP if in_loop else "")


def _read_by_action(call: Call, graph: Graph) -> Iterator[Expression]:
    """What the action's templates read, or what the workflow reads that it runs."""
    if isinstance(call, ModelCall):
        yield from (use.expression for tree in call.action.templates.values() for use in walk(tree))
    elif call.own_input is not None:
        yield from (use.expression for use in walk(call.own_input))
    else:
        for item in graph.workflows[call.workflow].inputs.declared:
            yield Expression("input", (item.name,), False, None, None, None, f"${{input.{item.name}}}")


def _goes_to(job_id: str, workflow: Workflow) -> Iterator[str]:
    """The keys whose expressions read the job's output."""
    found: dict[str, None] = {}
    for other in workflow.jobs:
        for use in job_uses(other):
            if use.expression.source == "jobs" and use.expression.path[0] == job_id:
                found[key_path((other.id, *use.location))] = None
    if workflow.output is None and job_id in workflow.terminal:
        found["output"] = None
    for use in walk(workflow.output, ("output",)):
        is_default = use.expression.source == "output" and job_id in workflow.terminal
        if is_default or (use.expression.source == "jobs" and use.expression.path[0] == job_id):
            found[key_path(use.location)] = None
    yield from found
