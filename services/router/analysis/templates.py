"""Every template of a job with its place in the file, for whoever asks what a job reads."""

from collections.abc import Iterator

from services.router.expression import Tree, Use, walk
from services.router.graph import (
    Call,
    CallWork,
    Combine,
    Condition,
    DelayWork,
    FilterWork,
    ForEachWork,
    IfWork,
    Job,
    LoopWork,
    RandomWork,
    Router,
    SwitchWork,
    Work,
)

Location = tuple[str | int, ...]
"""Keys and indexes from a block to one of its values."""

Place = tuple[Location, Tree]


def job_templates(job: Job) -> Iterator[Place]:
    """The templates of a job itself, in the order in which they are rendered, with their places in its block."""
    yield from ((location, tree) for location, tree in _work(job.work) if tree is not None)
    if job.output is not None:
        yield ("output",), job.output
    if job.on_error is not None and job.on_error.output is not None:
        yield ("on_error", "output"), job.on_error.output


def job_uses(job: Job) -> Iterator[Use]:
    """Every expression of a job's own templates; locations begin at its block."""
    for location, tree in job_templates(job):
        yield from walk(tree, location)


def calls(work: Work) -> Iterator[Call]:
    """What a job asks of components, if anything."""
    if isinstance(work, CallWork | ForEachWork | LoopWork):
        yield work.call


def _work(work: Work) -> Iterator[tuple[Location, Tree | None]]:
    match work:
        case CallWork():
            yield ("repeat_count",), work.repeat_count
            yield ("input",), work.call.input
        case DelayWork():
            yield ("duration",), work.duration
            yield ("time",), work.time
            yield ("timezone",), work.timezone
        case IfWork() | SwitchWork() | RandomWork():
            yield from _router(work)
        case FilterWork():
            yield ("input",), work.input
            yield from _condition(work.where, ("where",))
        case ForEachWork():
            yield ("input",), work.input
            yield ("batch_size",), work.batch_size
            yield from _do(work)
        case LoopWork():
            yield ("input",), work.input
            yield from _do(work)
            yield from _condition(work.condition, ("until" if work.ends_when else "while",))


def _router(work: Router) -> Iterator[tuple[Location, Tree | None]]:
    match work:
        case IfWork():
            yield ("input",), work.input
            for index, branch in enumerate(work.branches):
                yield from _condition(branch.condition, ("conditions", index))
        case SwitchWork():
            yield ("input",), work.input
            for index, (value, _) in enumerate(work.cases):
                yield ("cases", index, "value"), value
        case RandomWork():
            yield ("session",), work.session


def _do(work: ForEachWork | LoopWork) -> Iterator[tuple[Location, Tree | None]]:
    yield ("do", "input"), work.call.input
    yield ("do", "output"), work.item_output


def _condition(condition: Condition | None, location: Location) -> Iterator[tuple[Location, Tree | None]]:
    match condition:
        case None:
            return
        case Combine(how="not"):
            yield from _condition(condition.conditions[0], (*location, "not"))
        case Combine():
            for index, part in enumerate(condition.conditions):
                yield from _condition(part, (*location, condition.how, index))
        case _:
            yield (*location, "input"), condition.input
            yield (*location, "value"), condition.value
