"""The file's workflows as a typed graph: what each job does, what it waits for, and where it may lead.

`services.router.compiling` makes it once from the settings, so that a run parses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.catalog import TaskType
from services.errors import ServiceError
from services.router.analysis.inputs import Inputs
from services.router.analysis.outputs import UNKNOWN, Piped, Shape
from services.router.analysis.reachability import Node, nodes
from services.router.expression import Tree
from services.router.names import did_you_mean, listed
from services.router.settings import Operator


class GraphError(ValueError):
    """The settings do not fit together; `compose` has checked the file, so this is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked of a component: `constants` are final values by catalog name, `templates` are rendered per run."""

    id: str
    constants: Mapping[str, Any]
    templates: Mapping[str, Tree]
    output: Tree | None
    streaming: bool


@dataclass(frozen=True, slots=True)
class Component:
    """One model task service. may_sleep: whether asking for it may have to start it."""

    id: str
    task: TaskType
    model: str
    endpoint: str
    actions: Mapping[str, Action]
    max_concurrent_count: int
    max_queue_length: int
    may_sleep: bool = False


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A request to a model. input: template of what the action reads as `input`; None passes on what there is."""

    component: Component
    action: Action
    input: Tree | None

    @property
    def is_chat(self) -> bool:
        return "messages" in self.component.task.fields


@dataclass(frozen=True, slots=True)
class WorkflowCall:
    """A run of another workflow inside this one.

    input: the job's template, over this run. own_input, output: the action's, over the job's input and over `result`.
    """

    component: str
    workflow: str
    input: Tree | None
    own_input: Tree | None
    output: Tree | None


Call = ModelCall | WorkflowCall


@dataclass(frozen=True, slots=True)
class Compare:
    """One comparison. input: None compares what the job itself reads. value: a template, or a value as it is."""

    input: Tree | None
    operator: Operator
    value: Tree


@dataclass(frozen=True, slots=True)
class Combine:
    """`all` or `any` of several conditions, or `not` the only one."""

    how: Literal["all", "any", "not"]
    conditions: "tuple[Condition, ...]"


Condition = Compare | Combine


@dataclass(frozen=True, slots=True)
class CallWork:
    """A component job. repeat_count: None calls once, and the result is no list."""

    call: Call
    repeat_count: Tree | None


@dataclass(frozen=True, slots=True)
class DelayWork:
    """Wait for a duration or until a time; exactly one of the two is given. Literals are trees too."""

    duration: Tree | None
    time: Tree | None
    timezone: Tree | None


@dataclass(frozen=True, slots=True)
class Branch:
    """One condition of an `if` and the jobs that it leads to."""

    condition: Compare
    if_true: str | None
    if_false: str | None


@dataclass(frozen=True, slots=True)
class IfWork:
    """The first branch whose outcome has a target decides, else `otherwise`, else nothing is routed to."""

    input: Tree | None
    branches: tuple[Branch, ...]
    otherwise: str | None


@dataclass(frozen=True, slots=True)
class SwitchWork:
    """The first case that equals the input decides, else `otherwise`."""

    input: Tree | None
    cases: tuple[tuple[Tree, str], ...]
    otherwise: str | None


@dataclass(frozen=True, slots=True)
class RandomWork:
    """One of the targets by weight; runs whose `session` is equal take the same one."""

    routings: tuple[tuple[str, float], ...]
    session: Tree | None


@dataclass(frozen=True, slots=True)
class FilterWork:
    """The items of a list that fulfil a condition, in order; None keeps all."""

    input: Tree | None
    where: Condition | None


@dataclass(frozen=True, slots=True)
class ForEachWork:
    """One call for each item of a list, `batch_size` at once; results in the items' order.

    item_output: template over `output`, the call's result; None passes it on.
    """

    input: Tree | None
    batch_size: Tree
    call: Call
    item_output: Tree | None


@dataclass(frozen=True, slots=True)
class LoopWork:
    """Calls whose output is the next one's input, until the condition is `ends_when`; at most so many."""

    input: Tree | None
    call: Call
    item_output: Tree | None
    condition: Condition
    ends_when: bool
    max_iteration_count: int


Router = IfWork | SwitchWork | RandomWork
"""Work that chooses the jobs to go on with, and has no output."""

Work = CallWork | DelayWork | Router | FilterWork | ForEachWork | LoopWork


@dataclass(frozen=True, slots=True)
class Retry:
    """max_attempts: in all, the first included. factor: from one delay to the next."""

    max_attempts: int
    delay_s: float
    factor: float
    max_delay_s: float


@dataclass(frozen=True, slots=True)
class OnError:
    """After the last attempt: route to the job `to`, or else give `output`."""

    output: Tree | None
    to: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """One node. needs: groups of job ids; the job may start once of each group one has run.

    targets: the jobs that this one can route to, `on_error` included. routed: some job routes to this one, so that it
    runs only then. output: None passes the result on. pipes: where its text, unchanged, stands in the workflow's
    output.
    """

    id: str
    needs: tuple[tuple[str, ...], ...]
    work: Work
    output: Tree | None
    targets: tuple[str, ...] = ()
    routed: bool = False
    retry: Retry | None = None
    on_error: OnError | None = None
    max_run_count: int = 25
    timeout_s: float | None = None
    pipes: tuple[tuple[str, Piped], ...] = ()

    @property
    def asks_chat(self) -> bool:
        """Whether it asks a chat model, so that it may be given earlier turns."""
        return isinstance(self.work, CallWork) and isinstance(self.work.call, ModelCall) and self.work.call.is_chat

    @property
    def leads_on(self) -> bool:
        """Whether something follows for whatever a router finds; True for every other job."""
        match self.work:
            case IfWork(otherwise=None):
                return any(branch.if_true and branch.if_false for branch in self.work.branches)
            case SwitchWork(otherwise=None):
                return False
        return True


def starts(jobs: Sequence[Job]) -> dict[str, Node]:
    """How each job comes to run: what it waits for, and which ones route to it."""
    return nodes({job.id: job.needs for job in jobs}, {job.id: job.targets for job in jobs})


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow.

    terminal: the ids of the jobs that a run may end with, in file order: nothing waits for them but routers that may
    lead nowhere, and they are no routers. shape: of the output.
    streaming: the file asks for a stream (`streaming: true`, or an output `as stream/...`).
    digest: of everything that decides what a run of it does, its sub-workflows and its components' actions included;
    a durable run goes on after a restart only under the same digest.
    """

    id: str
    jobs: tuple[Job, ...]
    terminal: tuple[str, ...]
    output: Tree | None
    inputs: Inputs
    streaming: bool
    private: bool
    digest: str
    schema: Mapping[str, Any]
    shape: Shape = UNKNOWN

    @property
    def chat_jobs(self) -> list[Job]:
        """The jobs that ask a chat model; the history of a run goes into the only one."""
        return [job for job in self.jobs if job.asks_chat]


@dataclass(frozen=True, slots=True)
class Graph:
    """All components and workflows by id; `default` is the workflow that runs when none is named: the
    only public one, or the one that is marked."""

    components: Mapping[str, Component]
    workflows: Mapping[str, Workflow]
    default: Workflow | None

    def workflow(self, workflow_id: str | None) -> Workflow:
        """The workflow that a client means; raises ServiceError 404 or, when it must choose, 422."""
        public = [workflow.id for workflow in self.workflows.values() if not workflow.private]
        if workflow_id is None:
            if not public:
                raise ServiceError(404, "unknown_workflow", "The file has no public workflow.", field="workflow_id")
            if self.default is None:
                raise ServiceError(
                    422,
                    "workflow_required",
                    "The file has several workflows and none of them is the default.",
                    hint=f'Set "workflow_id" to one of {listed(public)}.',
                    field="workflow_id",
                )
            return self.default
        workflow = self.workflows.get(workflow_id)
        if workflow is None or workflow.private:
            near = did_you_mean(workflow_id, public)
            known = f"Known: {listed(public)}." if public else "The file has no public workflow."
            raise ServiceError(
                404,
                "unknown_workflow",
                f'There is no workflow "{workflow_id[:80]}".',
                hint=f"{near} {known}" if near else known,
                field="workflow_id",
            )
        return workflow
