"""What each job gives, and what the workflow's output is made of, known before a run."""

from collections.abc import Collection, Mapping, Sequence

from services.catalog import Part
from services.router.analysis.outputs import UNKNOWN, Opaque, Piped, Shape, from_inside, last_there, opaque, shape_of
from services.router.analysis.reachability import Choices, choices, visited_again
from services.router.expression import Template, Tree
from services.router.graph import (
    Action,
    Call,
    CallWork,
    FilterWork,
    ForEachWork,
    Job,
    LoopWork,
    ModelCall,
    Router,
    Workflow,
    starts,
)


def output_shape(
    jobs: Sequence[Job], terminal: Collection[str], output: Tree | None, others: Mapping[str, Workflow]
) -> Shape:
    """The shape of a workflow's output. others: the workflows that it runs, by id."""
    nodes = starts(jobs)
    again, chosen = visited_again(nodes), choices(nodes)
    shapes = {
        job.id: _job_shape(job, chosen[job.id], others, job.id not in again and job.on_error is None)
        for job in jobs
        if not isinstance(job.work, Router)
    }
    ends = [job for job in jobs if job.id in terminal]
    last = last_there([_as_it_may_end(job, shapes[job.id]) if len(ends) > 1 else shapes[job.id] for job in ends])
    if output is None:
        return last
    return shape_of(output, {"output": last, "jobs": {job: {"output": shape} for job, shape in shapes.items()}})


def _as_it_may_end(job: Job, shape: Shape) -> Shape:
    """The shape of one output among several: what takes the place of a map after an error need not be this map."""
    return UNKNOWN if job.on_error is not None and isinstance(shape, dict) else shape


def _job_shape(job: Job, chosen: Choices, others: Mapping[str, Workflow], is_final: bool) -> Shape:
    """is_final: whether text that the job has made stays in its output, so that it can be sent at once."""
    result = _result_shape(job, chosen, others)
    if not is_final:
        result = opaque(result)
    return result if job.output is None else shape_of(job.output, {"output": result})


def _result_shape(job: Job, chosen: Choices, others: Mapping[str, Workflow]) -> Shape:
    match job.work:
        case CallWork() | ForEachWork() | LoopWork():
            answer = _call_shape(job.id, job.work.call, chosen, others)
        case FilterWork():
            return Opaque("list")
        case _:
            return UNKNOWN
    if isinstance(job.work, CallWork):
        return answer if job.work.repeat_count is None else _repeated(answer)
    if job.work.item_output is not None:
        answer = shape_of(job.work.item_output, {"output": answer})
    return _repeated(answer) if isinstance(job.work, ForEachWork) else opaque(answer)


def _call_shape(job: str, call: Call, chosen: Choices, others: Mapping[str, Workflow]) -> Shape:
    if isinstance(call, ModelCall):
        result = model_result(call, job, chosen)
        mapping = call.action.output
    else:
        result = from_inside(others[call.workflow].shape, job, chosen)
        mapping = call.output
    return result if mapping is None else shape_of(mapping, {"result": result, "output": result})


def model_result(call: ModelCall, job: str = "", chosen: Choices = frozenset()) -> Shape:
    """The shape of what a model answers to a job, before any mapping."""
    task, action = call.component.task, call.action
    if task.streams:
        return Piped(job, task.result, choices=chosen)
    parts: Shape = {name: Opaque(part.word) for name, part in task.parts.items() if _is_sure(part, action)}
    one = parts if task.result == "object" else Opaque("list", Opaque(task.item) if task.item else parts)
    many = {_is_list(action, name) for name, field in task.fields.items() if field.kind == "text-or-list"}
    if many <= {False}:
        return one
    if many == {True}:
        return Opaque("list", one)
    return Opaque("list", Opaque("json", one.item)) if isinstance(one, Opaque) else Opaque("json", one)


def _is_list(action: Action, name: str) -> bool | None:
    """Whether the model is given a list there; None when only the run tells."""
    value = action.templates.get(name, action.constants.get(name))
    if isinstance(value, Template):
        return False if shape_of(value, {}) == Opaque("text") else None
    return isinstance(value, list)


def _is_sure(part: Part, action: Action) -> bool:
    """Whether a part is in every answer."""
    if part.flag is None:
        return True
    return part.flag not in action.templates and bool(action.constants.get(part.flag, part.by_default))


def _repeated(shape: Shape) -> Shape:
    return shape.repeated() if isinstance(shape, Piped) else Opaque("list")
