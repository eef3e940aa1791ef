"""What a job does, in words."""

from collections.abc import Iterator

from compose.explain.places import shown
from compose.output import count, duration
from services.router.expression import Tree
from services.router.graph import (
    Call,
    CallWork,
    Combine,
    Compare,
    Condition,
    DelayWork,
    FilterWork,
    ForEachWork,
    IfWork,
    Job,
    LoopWork,
    ModelCall,
    OnError,
    RandomWork,
    Retry,
    SwitchWork,
    Work,
)


def does(work: Work) -> str:
    """`asks component writer (chat-completion)`."""
    match work:
        case CallWork():
            times = f", {shown(work.repeat_count)} times at once" if work.repeat_count is not None else ""
            return f"{_asks(work.call)}{times}"
        case DelayWork():
            if work.time is None:
                return f"waits {_bare(work.duration)}"
            zone = f" in {_bare(work.timezone)}" if work.timezone is not None else ""
            return f"waits until {_bare(work.time)}{zone}"
        case FilterWork():
            which = f" for which {condition(work.where)}" if work.where is not None else ""
            return f"keeps the items of {_input(work.input)}{which}"
        case ForEachWork():
            at_once = f", {shown(work.batch_size)} at once" if work.batch_size != 1 else ""
            return f"for each item of {_input(work.input)} {_asks(work.call)}{at_once}"
        case LoopWork():
            end = "until" if work.ends_when else "while"
            return f"{_asks(work.call)} again and again {end} {condition(work.condition)}"
        case IfWork() | SwitchWork():
            return f"chooses by {_input(work.input)}"
        case RandomWork():
            same = f", the same way for equal {shown(work.session)}" if work.session is not None else ""
            return f"chooses by chance{same}"


def ways(work: Work) -> Iterator[tuple[str, str | None]]:
    """What decides, and the job that it leads to; None ends the branch."""
    match work:
        case IfWork():
            for branch in work.branches:
                asked = condition(branch.condition)
                if branch.if_true is not None:
                    yield f"when {asked}", branch.if_true
                if branch.if_false is not None:
                    yield f"when not {asked}", branch.if_false
            if all(branch.if_true is None or branch.if_false is None for branch in work.branches):
                yield "otherwise", work.otherwise
        case SwitchWork():
            for value, target in work.cases:
                yield f"when eq {shown(value)}", target
            yield "otherwise", work.otherwise
        case RandomWork():
            total = sum(weight for _, weight in work.routings)
            for target, weight in work.routings:
                yield f"in {100 * weight / total:.3g} % of the runs", target


def condition(asked: Condition) -> str:
    """`${item.score} gt 0.5`; without an input of its own a comparison begins with its operator."""
    match asked:
        case Compare():
            compared = f"{shown(asked.input)} " if asked.input is not None else ""
            return f"{compared}{asked.operator} {shown(asked.value)}"
        case Combine(how="not"):
            return f"not ({condition(asked.conditions[0])})"
        case Combine():
            word = " and " if asked.how == "all" else " or "
            return word.join(f"({condition(part)})" for part in asked.conditions)


def retry(settings: Retry) -> str:
    """`3 attempts in all, 1 s apart`."""
    spacing = f"{_time(settings.delay_s)} apart"
    if settings.factor > 1:
        spacing += f" at first, twice as long each time, {_time(settings.max_delay_s)} at most"
    return f"{count(settings.max_attempts, 'attempt')} in all, {spacing}"


def on_error(settings: OnError) -> str:
    if settings.to is not None:
        return f"goes on at {settings.to}"
    return "gives nothing" if settings.output is None else f"gives {shown(settings.output)}"


def limits(job: Job, *, may_return: bool) -> Iterator[str]:
    """How long and how often it may run. may_return: routing can visit it more than once."""
    if job.timeout_s is not None:
        yield f"{_time(job.timeout_s)} with all attempts"
    if isinstance(job.work, LoopWork):
        yield count(job.work.max_iteration_count, "iteration")
    if may_return:
        yield count(job.max_run_count, "visit")


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else duration(seconds)


def _asks(call: Call) -> str:
    if not isinstance(call, ModelCall):
        return f"runs workflow {call.workflow} through component {call.component}"
    action = f", action {call.action.id}" if len(call.component.actions) > 1 else ""
    return f"asks component {call.component.id} ({call.component.task.name}){action}"


def _bare(tree: Tree) -> str:
    return tree if isinstance(tree, str) else shown(tree)


def _input(tree: Tree | None) -> str:
    return "the workflow's input" if tree is None else shown(tree)
