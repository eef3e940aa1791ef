"""The jobs of a workflow: what each one does, when it runs, and what happens when it fails."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from compose.blocks import Location, variant
from compose.spec.base import Spec
from compose.written import (
    Deadline,
    Dependencies,
    Identifier,
    Number,
    Plain,
    Positive,
    Seconds,
    Template,
    Text,
    plain,
)
from services.router.settings import Operator


class RetrySpec(Spec):
    """How often a failed job is tried, in all. A number alone is `max_attempt_count`; delays in seconds."""

    max_attempt_count: Positive
    delay: Seconds = 1
    backoff: Annotated[Literal["fixed", "exponential"], Plain] = "fixed"
    max_delay: Seconds = 60

    @model_validator(mode="before")
    @classmethod
    def _from_count(cls, data: Any) -> Any:
        count = plain(data)
        return {"max_attempt_count": count} if isinstance(count, str | int | float) else data


class OnErrorSpec(Spec):
    """What happens after the last attempt: `output` instead of the result, or on to the job `to`; neither: `ignore`."""

    output: Template = None
    to: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        text = plain(data)
        if isinstance(text, Mapping | Spec):
            return data
        if isinstance(text, str) and text.lower() == "ignore":
            return {}
        raise ValueError("must be `ignore`, or a map with `output` or `to`")


class ConditionSpec(Spec):
    """One comparison (`input`, `operator`, `value`), or `all`, `any` or `not` of other conditions."""

    input: Template = None
    operator: Annotated[Operator, Plain] = "eq"
    value: Template = None
    all: "tuple[ConditionSpec, ...] | None" = None
    any: "tuple[ConditionSpec, ...] | None" = None
    not_: "ConditionSpec | None" = Field(None, alias="not")


class DoSpec(Spec):
    """The request that a for-each or a loop makes over and over."""

    component: Text | None = None
    action: Text | None = None
    input: Template = None
    output: Template = None


class BranchSpec(Spec):
    """One condition of an `if`; without `input` it compares the job's own."""

    input: Template = None
    operator: Annotated[Operator, Plain] = "eq"
    value: Template = None
    if_true: Text | None = None
    if_false: Text | None = None


class CaseSpec(Spec):
    """One value of a `switch`, and the job it leads to."""

    value: Template = None
    then: Text


class RoutingSpec(Spec):
    """One way out of a random router."""

    to: Text
    weight: Number | None = None


Route = tuple[Location, str]
"""Where in a job another one is named to go on at, and its id."""


def _not_nothing(value: Any) -> Any:
    if value is None:
        raise ValueError("says nothing: write `ignore`, `output: ...` or `to: JOB`")
    return value


class _Job(Spec):
    """What every job may say. `timeout` in seconds, for all its attempts together."""

    id: Identifier = "__job__"
    name: Text | None = None
    type: str
    depends_on: Dependencies = ()
    retry: RetrySpec | None = None
    on_error: Annotated[OnErrorSpec | None, BeforeValidator(_not_nothing)] = None
    max_run_count: Positive = 25
    timeout: Deadline | None = None

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Of each group one job must have run."""
        return tuple((item,) if isinstance(item, str) else item for item in self.depends_on)

    @property
    def call(self) -> "ComponentJobSpec | DoSpec | None":
        """What asks a component, if anything in this job does."""
        return None

    def routes(self) -> Iterator[Route]:
        """Where this job may lead, in the order of the file's documentation."""
        yield from self._own_routes()
        if self.on_error is not None and self.on_error.to is not None:
            yield ("on_error", "to"), self.on_error.to

    def _own_routes(self) -> Iterator[Route]:
        yield from ()


class ComponentJobSpec(_Job):
    """An action of a component. None as `input` is the workflow's own input."""

    type: Annotated[Literal["component"], Plain] = "component"
    component: Text | None = None
    action: Text | None = None
    input: Template = None
    repeat_count: Template = None
    output: Template = None

    @property
    def call(self) -> "ComponentJobSpec":
        return self


class DelayJobSpec(_Job):
    """Waiting, for a duration or until a time."""

    type: Annotated[Literal["delay"], Plain]
    mode: Annotated[Literal["time-interval", "specific-time"], Plain] = "time-interval"
    duration: Template = None
    time: Template = None
    timezone: Template = None
    output: Template = None


class IfJobSpec(_Job):
    """Where to go on, by conditions in order."""

    type: Annotated[Literal["if"], Plain]
    input: Template = None
    conditions: tuple[BranchSpec, ...] = ()
    otherwise: Text | None = None

    def _own_routes(self) -> Iterator[Route]:
        for index, branch in enumerate(self.conditions):
            for name, target in (("if_true", branch.if_true), ("if_false", branch.if_false)):
                if target is not None:
                    yield ("conditions", index, name), target
        if self.otherwise is not None:
            yield ("otherwise",), self.otherwise


class SwitchJobSpec(_Job):
    """Where to go on, by what the input equals."""

    type: Annotated[Literal["switch"], Plain]
    input: Template = None
    cases: tuple[CaseSpec, ...] = ()
    otherwise: Text | None = None

    def _own_routes(self) -> Iterator[Route]:
        for index, case in enumerate(self.cases):
            yield ("cases", index, "then"), case.then
        if self.otherwise is not None:
            yield ("otherwise",), self.otherwise


class RandomRouterJobSpec(_Job):
    """Where to go on, by chance; equal sessions go the same way."""

    type: Annotated[Literal["random-router"], Plain]
    mode: Annotated[Literal["uniform", "weighted"], Plain] = "uniform"
    routings: tuple[RoutingSpec, ...] = ()
    session: Template = None

    def _own_routes(self) -> Iterator[Route]:
        for index, routing in enumerate(self.routings):
            yield ("routings", index, "to"), routing.to


class FilterJobSpec(_Job):
    """The items of a list that a condition holds for; without one, all of them."""

    type: Annotated[Literal["filter"], Plain]
    input: Template = None
    where: ConditionSpec | None = None
    output: Template = None


class ForEachJobSpec(_Job):
    """One request for each item of a list, `batch_size` at once."""

    type: Annotated[Literal["for-each"], Plain]
    input: Template = None
    batch_size: Template = 1
    do: DoSpec
    output: Template = None

    @property
    def call(self) -> DoSpec:
        return self.do


class LoopJobSpec(_Job):
    """One request again and again, each with the last one's output, while or until a condition holds."""

    type: Annotated[Literal["loop"], Plain]
    input: Template = None
    do: DoSpec
    while_: ConditionSpec | None = Field(None, alias="while")
    until: ConditionSpec | None = None
    max_iteration_count: Positive = 100
    output: Template = None

    @property
    def call(self) -> DoSpec:
        return self.do


ROUTERS = (IfJobSpec, SwitchJobSpec, RandomRouterJobSpec)
"""Jobs that only choose where to go on; they have no output."""


def _kind(data: Any) -> str | None:
    given = data.get("type") if isinstance(data, Mapping) else getattr(data, "type", None)
    return variant("job", plain(given))


JobSpec = Annotated[
    Annotated[ComponentJobSpec, Tag("job")]
    | Annotated[DelayJobSpec, Tag("delay job")]
    | Annotated[IfJobSpec, Tag("if job")]
    | Annotated[SwitchJobSpec, Tag("switch job")]
    | Annotated[RandomRouterJobSpec, Tag("random-router job")]
    | Annotated[FilterJobSpec, Tag("filter job")]
    | Annotated[ForEachJobSpec, Tag("for-each job")]
    | Annotated[LoopJobSpec, Tag("loop job")],
    Discriminator(_kind),
]
