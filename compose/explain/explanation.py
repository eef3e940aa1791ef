"""A workflow as it is explained: plain values, which are printed as text or as JSON."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wait:
    """Of these jobs one must have run before. why: `depends_on`, or the keys whose expressions read them."""

    jobs: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Way:
    """Where a router leads. to: None ends the branch."""

    when: str
    to: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One job.

    does: what its type does, in words. routed_by: the jobs that may route to it; when there are any, it runs only then.
    limits: how often and how long it may run. reads: `input.x`, `jobs.a.output`, `item`, ... goes_to: the keys of other
    jobs and of the workflow that read its output.
    """

    id: str
    type: str
    does: str
    routed_by: tuple[str, ...]
    waits_for: tuple[Wait, ...]
    reads: tuple[str, ...]
    routes: tuple[Way, ...]
    retry: str | None
    on_error: str | None
    limits: tuple[str, ...]
    goes_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """An expression that can be null. place: `file:line:column`; None when the file leaves it to a default.
    reads: what it reads, as in a step."""

    place: str | None
    reads: str
    expression: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A workflow. is_default: among several. inputs: as the workflow's schema lists them.

    steps: each after what it waits for, in the order of the file where that leaves a choice.
    output: what makes the output: the expressions that its mapping reads, or the jobs that a run may end with.
    """

    workflow: str
    title: str | None
    description: str | None
    is_default: bool
    is_private: bool
    inputs: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    output: tuple[str, ...]
    gaps: tuple[Gap, ...]
