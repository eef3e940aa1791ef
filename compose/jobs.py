"""What the router is told of each job: names resolved, forms that may be left out written out."""

from typing import Any

from compose.spec import (
    ComponentJobSpec,
    ComposeSpec,
    ConditionSpec,
    DelayJobSpec,
    DoSpec,
    FilterJobSpec,
    ForEachJobSpec,
    IfJobSpec,
    JobSpec,
    LoopJobSpec,
    OnErrorSpec,
    RandomRouterJobSpec,
    RetrySpec,
    SwitchJobSpec,
)
from services.router.settings import (
    BranchSettings,
    CallSettings,
    CaseSettings,
    ComponentJobSettings,
    ConditionSettings,
    DelayJobSettings,
    FilterJobSettings,
    ForEachJobSettings,
    IfJobSettings,
    JobSettings,
    LoopJobSettings,
    OnErrorSettings,
    RandomRouterJobSettings,
    RetrySettings,
    RoutingSettings,
    SwitchJobSettings,
)


def job_settings(job: JobSpec, spec: ComposeSpec) -> JobSettings:
    """One job of a checked file."""
    common = _common(job)
    match job:
        case ComponentJobSpec():
            component, action = _called(job, spec)
            return ComponentJobSettings(
                **common,
                component=component,
                action=action,
                input=job.input,
                output=job.output,
                repeat_count=job.repeat_count,
            )
        case DelayJobSpec():
            return DelayJobSettings(
                **common,
                type="delay",
                mode=job.mode,
                duration=job.duration,
                time=job.time,
                timezone=job.timezone,
                output=job.output,
            )
        case IfJobSpec():
            branches = tuple(BranchSettings(**branch.model_dump()) for branch in job.conditions)
            return IfJobSettings(**common, type="if", input=job.input, conditions=branches, otherwise=job.otherwise)
        case SwitchJobSpec():
            cases = tuple(CaseSettings(value=case.value, then=case.then) for case in job.cases)
            return SwitchJobSettings(**common, type="switch", input=job.input, cases=cases, otherwise=job.otherwise)
        case RandomRouterJobSpec():
            return RandomRouterJobSettings(
                **common,
                type="random-router",
                mode=job.mode,
                routings=tuple(
                    RoutingSettings(to=way.to, weight=1.0 if way.weight is None else way.weight) for way in job.routings
                ),
                session=job.session,
            )
        case FilterJobSpec():
            where = _condition(job.where) if job.where else None
            return FilterJobSettings(**common, type="filter", input=job.input, where=where, output=job.output)
        case ForEachJobSpec():
            return ForEachJobSettings(
                **common,
                type="for-each",
                input=job.input,
                batch_size=job.batch_size,
                do=_call(job.do, spec),
                output=job.output,
            )
        case LoopJobSpec():
            return LoopJobSettings(
                **common,
                type="loop",
                input=job.input,
                do=_call(job.do, spec),
                while_=_condition(job.while_) if job.while_ else None,
                until=_condition(job.until) if job.until else None,
                max_iteration_count=job.max_iteration_count,
                output=job.output,
            )


def _common(job: JobSpec) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "depends_on": job.groups,
        "retry": _retry(job.retry) if job.retry else None,
        "on_error": _on_error(job.on_error) if job.on_error else None,
        "max_run_count": job.max_run_count,
        "timeout_s": job.timeout,
    }


def _retry(retry: RetrySpec) -> RetrySettings:
    return RetrySettings(
        max_attempt_count=retry.max_attempt_count,
        delay_s=retry.delay,
        backoff=retry.backoff,
        max_delay_s=retry.max_delay,
    )


def _on_error(on_error: OnErrorSpec) -> OnErrorSettings:
    return OnErrorSettings(output=on_error.output, to=on_error.to)


def _condition(condition: ConditionSpec) -> ConditionSettings:
    if condition.all is not None:
        return ConditionSettings(all=tuple(map(_condition, condition.all)))
    if condition.any is not None:
        return ConditionSettings(any=tuple(map(_condition, condition.any)))
    if condition.not_ is not None:
        return ConditionSettings(not_=_condition(condition.not_))
    return ConditionSettings(input=condition.input, operator=condition.operator, value=condition.value)


def _call(do: DoSpec, spec: ComposeSpec) -> CallSettings:
    component, action = _called(do, spec)
    return CallSettings(component=component, action=action, input=do.input, output=do.output)


def _called(job: ComponentJobSpec | DoSpec, spec: ComposeSpec) -> tuple[str, str]:
    """The names of the component and the action that are meant."""
    component = spec.component(job.component)
    assert component is not None, "the loader has checked the references"
    action = component.action(job.action)
    assert action is not None, "the loader has checked the references"
    return component.name, action.id
