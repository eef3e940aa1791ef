"""Whether the jobs of a workflow make sense: what they ask, compare and wait for, and what their templates read."""

from typing import Final

from compose.blocks import Location
from compose.checks.actions import check_value
from compose.checks.calls import answer_shape, check_unread, find_call
from compose.checks.conditions import check_condition
from compose.checks.delays import check_delay
from compose.checks.expressions import NO_OUTPUT, Place, Shape, check, listed, mapped
from compose.checks.findings import Findings
from compose.checks.naming import check_names
from compose.checks.order import check_order
from compose.checks.routers import check_if, check_random_router, check_switch
from compose.spec import (
    ROUTERS,
    ComponentJobSpec,
    ComposeSpec,
    DelayJobSpec,
    FilterJobSpec,
    ForEachJobSpec,
    IfJobSpec,
    JobSpec,
    LoopJobSpec,
    RandomRouterJobSpec,
    SwitchJobSpec,
    WorkflowSpec,
)
from compose.templates import uses
from compose.usage import Asked
from compose.written import Template
from services.catalog import MAX_COUNT, Field
from services.router.expression import ExpressionError, Tree

_REPEAT_COUNT: Final = Field("repeat_count", "integer", "parallel runs of a job", minimum=1, maximum=1_000)
_BATCH_SIZE: Final = Field("batch_size", "integer", "items worked on at once", minimum=1, maximum=MAX_COUNT)

_Sources = dict[str, Shape]


def check_jobs(workflow: WorkflowSpec, spec: ComposeSpec, here: Location, findings: Findings) -> None:
    """One workflow, its jobs and its output."""
    jobs = (*here, "jobs")
    if not workflow.jobs and not findings.partial:
        findings.error(jobs, "the workflow has no job", "leave `jobs` out for one job of the only component")
    check_names("job", [job.id for job in workflow.jobs], jobs, findings)
    checked = [_Checked(job, spec, (*jobs, index), findings) for index, job in enumerate(workflow.jobs)]
    known: _Sources = {each.job.id: {"output": each.output} for each in checked}
    after_errors = {job.on_error.to for job in workflow.jobs if job.on_error is not None}
    base: _Sources = {"input": None, "jobs": known, "env": None, "context": None}
    for each in checked:
        each.check(base | ({"error": None} if each.job.id in after_errors else {}))
    check_order(workflow, jobs, findings)
    output: Shape = checked[0].output if len(checked) == 1 else None
    check(workflow.output, (*here, "output"), Place("a workflow's `output`", {"output": output, **base}), findings)


class _Checked:
    """One job, what it asks, and what is known of its result."""

    def __init__(self, job: JobSpec, spec: ComposeSpec, here: Location, findings: Findings) -> None:
        self.job = job
        self.here = here
        self.findings = findings
        self.asked: Asked | None = None
        if job.call is not None:
            self.asked = find_call(job.call, spec, here if job.call is job else (*here, "do"), findings)
        self.answer = answer_shape(self.asked, spec)
        self.result = self._result()
        self.output = self._output()

    def _output(self) -> Shape:
        """What is known of what others read as the job's output."""
        if isinstance(self.job, ROUTERS):
            return NO_OUTPUT
        if self.job.on_error is not None and self.job.on_error.output is not None:
            return None
        return mapped(self.job.output, self.result)

    def _result(self) -> Shape:
        """What is known of the job's result, before its own `output`."""
        match self.job:
            case ComponentJobSpec(repeat_count=None):
                return self.answer
            case ComponentJobSpec():
                return listed(self.answer, sure=False)
            case ForEachJobSpec():
                return listed(mapped(self.job.do.output, self.answer), sure=True)
            case LoopJobSpec():
                return mapped(self.job.do.output, self.answer)
        return None

    def check(self, base: _Sources) -> None:
        """Every template of the job. base: what all of them may read."""
        self._check_work(base)
        job = self.job
        if not isinstance(job, ROUTERS):
            self._template(job.output, {"output": self.result, **base}, "output")
        if job.on_error is not None:
            self._template(job.on_error.output, {"error": None, **base}, "on_error", "output")
            if job.on_error.to is not None and "output" in job.on_error.model_fields_set:
                message = "`output` and `to` cannot stand beside each other in `on_error`"
                hint = "with `to`, the job that it names makes the output"
                self.findings.error((*self.here, "on_error"), message, hint)

    def _check_work(self, base: _Sources) -> None:
        here, findings = self.here, self.findings
        match self.job:
            case ComponentJobSpec() as job:
                self._check_component(job, base)
            case DelayJobSpec() as job:
                check_delay(job, here, Place("a delay", base), findings)
            case IfJobSpec() as job:
                check_if(job, here, Place("an `if`", base), findings)
            case SwitchJobSpec() as job:
                check_switch(job, here, Place("a `switch`", base), findings)
            case RandomRouterJobSpec() as job:
                check_random_router(job, here, Place("a random router", base), findings)
            case FilterJobSpec() as job:
                self._check_filter(job, base)
            case ForEachJobSpec() as job:
                self._template(job.input, base, "input")
                self._count(_BATCH_SIZE, job.batch_size, base)
                self._check_do(job, {"item": None, "index": None, **base})
                self._warn_of_equal_calls(job)
            case LoopJobSpec() as job:
                self._template(job.input, base, "input")
                self._check_do(job, {"index": None, **base})
                self._check_loop(job, {"index": None, **base})

    def _check_filter(self, job: FilterJobSpec, base: _Sources) -> None:
        self._template(job.input, base, "input")
        if job.where is not None:
            place = Place("a filter's `where`", {"item": None, "index": None, **base})
            check_condition(job.where, (*self.here, "where"), place, self.findings)

    def _template(self, template: Template, sources: _Sources, *where: str) -> Tree | None:
        place = Place(f"a job's `{'.'.join(where)}`", sources)
        return check(template, (*self.here, *where), place, self.findings)

    def _count(self, field: Field, template: Template, sources: _Sources) -> None:
        check_value(field, template, (*self.here, field.name), Place(f"`{field.name}`", sources), self.findings)

    def _check_component(self, job: ComponentJobSpec, base: _Sources) -> None:
        repeated: _Sources = {}
        if job.repeat_count is not None:
            repeated = {"index": None}
            self._count(_REPEAT_COUNT, job.repeat_count, base)
        tree = self._template(job.input, base | repeated, "input")
        check_unread(tree, self.asked, (*self.here, "input"), self.findings)

    def _check_do(self, job: ForEachJobSpec | LoopJobSpec, sources: _Sources) -> None:
        tree = self._template(job.do.input, sources, "do", "input")
        check_unread(tree, self.asked, (*self.here, "do", "input"), self.findings)
        self._template(job.do.output, {"output": self.answer, **sources}, "do", "output")

    def _warn_of_equal_calls(self, job: ForEachJobSpec) -> None:
        try:
            read = {use.expression.source for use in uses(job.do.input)}
        except ExpressionError:
            return
        if job.do.input is not None and not read & {"item", "index"}:
            message = "neither `item` nor `index` is read, so every item makes the same request"
            hint = "read `${item}`, or leave `input` out to pass the item on"
            self.findings.warn((*self.here, "do", "input"), message, hint)

    def _check_loop(self, job: LoopJobSpec, base: _Sources) -> None:
        conditions = {name: tested for name, tested in (("while", job.while_), ("until", job.until)) if tested}
        if not conditions and self.findings.is_whole(self.here):
            hint = "write `while:` or `until:` with `input`, `operator` and `value`"
            self.findings.error(self.here, "the loop does not say when it ends", hint)
        elif len(conditions) > 1:
            later = max(conditions, key=lambda name: self.findings.mark((*self.here, name), key=True))
            message = "`while` and `until` cannot stand beside each other"
            self.findings.error((*self.here, later), message, "keep one of them", key=True)
        for name, condition in conditions.items():
            place = Place(f"a loop's `{name}`", {"output": self.result, **base})
            check_condition(condition, (*self.here, name), place, self.findings)
