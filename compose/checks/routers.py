"""Whether the jobs that choose where to go on can choose: conditions, cases, weights, and at least one target."""

from typing import Any

from compose.blocks import Location
from compose.checks.conditions import check_comparison
from compose.checks.expressions import Place, check
from compose.checks.findings import Findings
from compose.spec import IfJobSpec, RandomRouterJobSpec, SwitchJobSpec
from compose.templates import constant, is_constant
from compose.written import Template
from services.router.execution.conditions import equal


def check_if(job: IfJobSpec, here: Location, place: Place, findings: Findings) -> None:
    """Each condition compares something and leads somewhere."""
    check(job.input, (*here, "input"), place, findings)
    if not job.conditions and findings.is_whole(here):
        findings.error(here, "the `if` has no condition", "write `operator`, `value` and `if_true` or `if_false`")
    for index, branch in enumerate(job.conditions):
        at = (*here, "conditions", index)
        check_comparison(branch, at, place, findings)
        if branch.if_true is None and branch.if_false is None and findings.is_whole(at):
            hint = "name a job with `if_true` or `if_false`"
            findings.error(at, "the condition leads nowhere", hint)
    if job.otherwise is not None and any(branch.if_true and branch.if_false for branch in job.conditions):
        message = "`otherwise` is never reached: a condition before it leads somewhere in both cases"
        findings.warn((*here, "otherwise"), message, key=True)
    if any("input" not in branch.model_fields_set for branch in job.conditions):
        _warn_of_whole_input(job, here, findings)


def check_switch(job: SwitchJobSpec, here: Location, place: Place, findings: Findings) -> None:
    """Each case has a value, and no two the same."""
    check(job.input, (*here, "input"), place, findings)
    _warn_of_whole_input(job, here, findings)
    if not job.cases and findings.is_whole(here):
        findings.error(here, "the `switch` has no case", "write `cases` with `value` and `then`")
    seen: list[Any] = []
    for index, case in enumerate(job.cases):
        at = (*here, "cases", index)
        if "value" not in case.model_fields_set and findings.is_whole(at):
            findings.error(at, "the case has no `value`", "`otherwise` on the job is for everything else")
        check(case.value, (*at, "value"), place, findings)
        known = _known(case.value)
        if known and any(equal(known[0], value) for value in seen):
            message = f"the value `{case.value}` has a case already, so this one never counts"
            findings.warn((*at, "value"), message)
        seen += known


def check_random_router(job: RandomRouterJobSpec, here: Location, place: Place, findings: Findings) -> None:
    """There is a way out, and weights are positive and used."""
    check(job.session, (*here, "session"), place, findings)
    if not job.routings and findings.is_whole(here):
        findings.error(here, "the random router leads nowhere", "write `routings` with `- to: JOB`")
    for index, routing in enumerate(job.routings):
        if routing.weight is None:
            continue
        at = (*here, "routings", index, "weight")
        if routing.weight <= 0:
            message = f"`weight` must be above 0, not {routing.weight:g}"
            findings.error(at, message, "leave out a way that is never taken")
        elif job.mode == "uniform":
            findings.warn(at, "`weight` means nothing with `mode: uniform`", "write `mode: weighted`", key=True)


def _warn_of_whole_input(job: IfJobSpec | SwitchJobSpec, here: Location, findings: Findings) -> None:
    if "input" not in job.model_fields_set and findings.is_whole(here):
        message = f"without `input` this `{job.type}` compares everything that the workflow is given"
        findings.warn(here, message, "write `input: ${input.NAME}`")


def _known(value: Template) -> list[Any]:
    """A known value as a list of one; empty when it is known only in a run."""
    try:
        return [constant(value)] if is_constant(value) else []
    except (ValueError, LookupError):
        return []
