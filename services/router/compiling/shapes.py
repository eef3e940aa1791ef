"""What each job gives, and what the workflow's output is made of, known before a run."""

from collections.abc import Iterable, Mapping

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
    Work,
    Workflow,
)
from services.router.outputs import Opaque, Piped, Shape, default_output, settled, trace
from services.router.reachability import visited_again


def output_shape(
    jobs: Iterable[Job], terminal: Iterable[str], output: Tree | None, others: Mapping[str, Workflow]
) -> Shape:
    """The shape of a workflow's output. others: the workflows that it runs, by id."""
    jobs = list(jobs)
    again = visited_again(starts(jobs))
    shapes = {
        job.id: _job_shape(job, others, is_final=job.id not in again and job.on_error is None)
        for job in jobs
        if not isinstance(job.work, Router)
    }
    last = default_output([shapes[job] for job in terminal])
    if output is None:
        return last
    return trace(output, {"output": last, "jobs": {job: {"output": shape} for job, shape in shapes.items()}})


def _job_shape(job: Job, others: Mapping[str, Workflow], is_final: bool) -> Shape:
    """is_final: whether text that a job has made stays in its output, so that it can be sent at once."""
    result = _result_shape(job.id, job.work, others)
    if not is_final:
        result = settled(result)
    return result if job.output is None else trace(job.output, {"output": result})


def _result_shape(job: str, work: Work, others: Mapping[str, Workflow]) -> Shape:
    match work:
        case CallWork(repeat_count=None):
            return _call_shape(job, work.call, others)
        case CallWork():
            return _repeated(_call_shape(job, work.call, others))
        case ForEachWork():
            item = _call_shape(job, work.call, others)
            return _repeated(item if work.item_output is None else trace(work.item_output, {"output": item}))
        case LoopWork():
            item = _call_shape(job, work.call, others)
            return settled(item if work.item_output is None else trace(work.item_output, {"output": item}))
        case FilterWork():
            return Opaque("list")
    return Opaque("json")


def _call_shape(job: str, call: Call, others: Mapping[str, Workflow]) -> Shape:
    if isinstance(call, ModelCall):
        result: Shape = Piped(job, call.component.task.result)
        mapping = call.action.output
    else:
        result = settled(others[call.workflow].shape)
        mapping = call.output
    return result if mapping is None else trace(mapping, {"result": result, "output": result})


def _repeated(shape: Shape) -> Shape:
    return shape.repeated() if isinstance(shape, Piped) else Opaque("list")
