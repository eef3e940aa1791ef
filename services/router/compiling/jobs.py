"""From a job's settings to a node of the graph: its work, what it waits for, and where it may lead."""

from collections.abc import Iterator
from dataclasses import replace

from services.router.analysis.reachability import needs
from services.router.analysis.templates import job_uses
from services.router.compiling.components import Components, optional
from services.router.compiling.conditions import compare, condition
from services.router.expression import compile_tree
from services.router.graph import (
    Branch,
    CallWork,
    DelayWork,
    FilterWork,
    ForEachWork,
    GraphError,
    IfWork,
    Job,
    LoopWork,
    OnError,
    RandomWork,
    Retry,
    Router,
    SwitchWork,
    Work,
)
from services.router.settings import (
    ComponentJobSettings,
    DelayJobSettings,
    FilterJobSettings,
    ForEachJobSettings,
    IfJobSettings,
    JobSettings,
    LoopJobSettings,
    OnErrorSettings,
    RandomRouterJobSettings,
    RetrySettings,
    SwitchJobSettings,
)


def compile_job(settings: JobSettings, components: Components) -> Job:
    """The job by itself; `routed` and `pipes` depend on the whole workflow. Raises GraphError."""
    try:
        work = _work(settings, components)
    except GraphError as error:
        raise GraphError(f"job {settings.id!r}: {error}") from error
    output = None
    if not isinstance(settings, IfJobSettings | SwitchJobSettings | RandomRouterJobSettings):
        output = optional(settings.output)
    job = Job(
        settings.id,
        (),
        work,
        output,
        _targets(work, settings.on_error),
        retry=_retry(settings.retry),
        on_error=_on_error(settings.on_error),
        max_run_count=settings.max_run_count,
        timeout_s=settings.timeout_s,
    )
    return replace(job, needs=needs(settings.depends_on, _read(job)))


def _work(settings: JobSettings, components: Components) -> Work:
    match settings:
        case ComponentJobSettings():
            call = components.call(settings.component, settings.action, settings.input)
            return CallWork(call, optional(settings.repeat_count))
        case DelayJobSettings():
            is_interval = settings.mode == "time-interval"
            if (settings.duration if is_interval else settings.time) is None:
                raise GraphError("it does not say how long, or until when")
            return DelayWork(
                optional(settings.duration) if is_interval else None,
                None if is_interval else optional(settings.time),
                None if is_interval else optional(settings.timezone),
            )
        case IfJobSettings() | SwitchJobSettings() | RandomRouterJobSettings():
            return _router(settings)
        case FilterJobSettings():
            where = condition(settings.where) if settings.where is not None else None
            return FilterWork(optional(settings.input), where)
        case ForEachJobSettings():
            return ForEachWork(
                optional(settings.input),
                compile_tree(settings.batch_size),
                components.call(settings.do.component, settings.do.action, settings.do.input),
                optional(settings.do.output),
            )
        case LoopJobSettings():
            tested = settings.while_ or settings.until
            if tested is None or (settings.while_ is not None and settings.until is not None):
                raise GraphError("a loop has either `while` or `until`")
            return LoopWork(
                optional(settings.input),
                components.call(settings.do.component, settings.do.action, settings.do.input),
                optional(settings.do.output),
                condition(tested),
                settings.until is not None,
                settings.max_iteration_count,
            )


def _router(settings: IfJobSettings | SwitchJobSettings | RandomRouterJobSettings) -> Router:
    match settings:
        case IfJobSettings():
            branches = (
                Branch(compare(item.input, item.operator, item.value), item.if_true, item.if_false)
                for item in settings.conditions
            )
            return IfWork(optional(settings.input), tuple(branches), settings.otherwise)
        case SwitchJobSettings():
            cases = tuple((compile_tree(case.value), case.then) for case in settings.cases)
            return SwitchWork(optional(settings.input), cases, settings.otherwise)
        case RandomRouterJobSettings():
            is_weighted = settings.mode == "weighted"
            routings = tuple((item.to, item.weight if is_weighted else 1.0) for item in settings.routings)
            if not sum(weight for _, weight in routings) > 0:
                raise GraphError("none of its routings has a weight")
            return RandomWork(routings, optional(settings.session))


def _targets(work: Work, on_error: OnErrorSettings | None) -> tuple[str, ...]:
    """Every job that this one can route to, once, in the order of the file."""
    found: list[str | None] = []
    match work:
        case IfWork():
            found = [target for branch in work.branches for target in (branch.if_true, branch.if_false)]
            found.append(work.otherwise)
        case SwitchWork():
            found = [*(target for _, target in work.cases), work.otherwise]
        case RandomWork():
            found = [target for target, _ in work.routings]
    found.append(on_error.to if on_error is not None else None)
    return tuple(dict.fromkeys(target for target in found if target is not None))


def _read(job: Job) -> Iterator[str]:
    """The jobs whose output this one reads."""
    uses = (use.expression for use in job_uses(job) if use.expression.source == "jobs")
    return (str(expression.path[0]) for expression in uses)


def _retry(settings: RetrySettings | None) -> Retry | None:
    if settings is None:
        return None
    factor = 2.0 if settings.backoff == "exponential" else 1.0
    return Retry(settings.max_attempt_count, settings.delay_s, factor, settings.max_delay_s)


def _on_error(settings: OnErrorSettings | None) -> OnError | None:
    return OnError(optional(settings.output), settings.to) if settings is not None else None
