"""What each job gives, and what the workflow's output is made of, known before a run."""

from collections.abc import Collection, Mapping, Sequence

from services.router.compiling.jobs import starts
from services.router.expression import Tree
from services.router.graph import (
    Call,
    CallWork,
    FilterWork,
    ForEachWork,
    Job,
    LoopWork,
    ModelCall,
    Router,
    Workflow,
)
from services.router.outputs import UNKNOWN, Opaque, Piped, Shape, from_inside, last_there, settled, trace
from services.router.reachability import Branch, branches, visited_again


def output_shape(
    jobs: Sequence[Job], terminal: Collection[str], output: Tree | None, others: Mapping[str, Workflow]
) -> Shape:
    """The shape of a workflow's output. others: the workflows that it runs, by id."""
    nodes = starts(jobs)
    again, branch = visited_again(nodes), branches(nodes)
    shapes = {
        job.id: _job_shape(job, branch[job.id], others, job.id not in again and job.on_error is None)
        for job in jobs
        if not isinstance(job.work, Router)
    }
    ends = [job for job in jobs if job.id in terminal]
    last = last_there([_as_it_may_end(job, shapes[job.id]) if len(ends) > 1 else shapes[job.id] for job in ends])
    if output is None:
        return last
    return trace(output, {"output": last, "jobs": {job: {"output": shape} for job, shape in shapes.items()}})


def _as_it_may_end(job: Job, shape: Shape) -> Shape:
    """The shape of one output among several: what takes the place of a map after an error need not be this map."""
    return UNKNOWN if job.on_error is not None and isinstance(shape, dict) else shape


def _job_shape(job: Job, branch: Branch, others: Mapping[str, Workflow], is_final: bool) -> Shape:
    """is_final: whether text that the job has made stays in its output, so that it can be sent at once."""
    result = _result_shape(job, branch, others)
    if not is_final:
        result = settled(result)
    return result if job.output is None else trace(job.output, {"output": result})


def _result_shape(job: Job, branch: Branch, others: Mapping[str, Workflow]) -> Shape:
    match job.work:
        case CallWork() | ForEachWork() | LoopWork():
            answer = _call_shape(job.id, job.work.call, branch, others)
        case FilterWork():
            return Opaque("list")
        case _:
            return UNKNOWN
    if isinstance(job.work, CallWork):
        return answer if job.work.repeat_count is None else _repeated(answer)
    if job.work.item_output is not None:
        answer = trace(job.work.item_output, {"output": answer})
    return _repeated(answer) if isinstance(job.work, ForEachWork) else settled(answer)


def _call_shape(job: str, call: Call, branch: Branch, others: Mapping[str, Workflow]) -> Shape:
    if isinstance(call, ModelCall):
        result: Shape = Piped(job, call.component.task.result, branch=branch)
        mapping = call.action.output
    else:
        result = from_inside(others[call.workflow].shape, job, branch)
        mapping = call.output
    return result if mapping is None else trace(mapping, {"result": result, "output": result})


def _repeated(shape: Shape) -> Shape:
    return shape.repeated() if isinstance(shape, Piped) else Opaque("list")
