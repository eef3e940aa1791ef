"""What the router process reads at start: the file's components and workflows with their templates, as data."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_WAIT_S = 366 * 86_400.0
"""No delay is longer."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionSettings(_Settings):
    """One action of a model component. `fields` holds the templates by catalog name (`messages`, `text`, `temperature`,
    ...): generation parameters are already lifted out of `params`, and the task's documented defaults are put in."""

    id: str
    default: bool = False
    fields: dict[str, Any]
    output: Any = None
    """Template over `${result}`; None: the result passes through."""
    streaming: bool = False


class ComponentSettings(_Settings):
    """One model component and where its service listens (`unix:/path` or `http://host:port`).

    may_sleep: whether there may be none of it while nobody asks, and asking starts one.
    """

    type: Literal["model"] = "model"
    id: str
    task: str
    model: str
    endpoint: str
    default: bool = False
    actions: tuple[ActionSettings, ...]
    max_concurrent_count: int = 0
    max_queue_length: int = 64
    may_sleep: bool = False


class WorkflowActionSettings(_Settings):
    """One action of a workflow component: run this workflow. `input`: template over the job's input, None passes it on;
    `output`: template over `${result}`."""

    id: str
    default: bool = False
    workflow: str
    input: Any = None
    output: Any = None


class WorkflowComponentSettings(_Settings):
    """A component whose actions run workflows of the same file."""

    type: Literal["workflow"]
    id: str
    default: bool = False
    actions: tuple[WorkflowActionSettings, ...]


class RetrySettings(_Settings):
    """max_attempt_count: attempts in all, the first one included. With `exponential` each delay is twice the last."""

    max_attempt_count: int
    delay_s: float = 1.0
    backoff: Literal["fixed", "exponential"] = "fixed"
    max_delay_s: float = 60.0


class OnErrorSettings(_Settings):
    """What happens when the last attempt failed: the job gives `output` (a template that may read `${error.message}`;
    None for `ignore`), or nothing and the run goes on at the job `to`."""

    output: Any = None
    to: str | None = None


Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "in", "not-in", "starts-with", "ends-with", "match"]
"""How two values are compared."""


class CallSettings(_Settings):
    """One request to a component, in the `do` of a for-each or loop; `output` is a template over `${output}`."""

    component: str
    action: str
    input: Any = None
    output: Any = None


class ConditionSettings(_Settings):
    """A comparison of two templates, or a combination of conditions; exactly one of the four forms."""

    input: Any = None
    operator: Operator | None = None
    value: Any = None
    all: "tuple[ConditionSettings, ...] | None" = None
    any: "tuple[ConditionSettings, ...] | None" = None
    not_: "ConditionSettings | None" = None


class _Job(_Settings):
    """depends_on: groups of job ids; of each group one must have run (a plain dependency is a group of one).

    timeout_s: for the whole job, its attempts and their delays included.
    """

    id: str
    name: str | None = None
    depends_on: tuple[tuple[str, ...], ...] = ()
    retry: RetrySettings | None = None
    on_error: OnErrorSettings | None = None
    max_run_count: int = 25
    timeout_s: float | None = None


class ComponentJobSettings(_Job):
    """`input`, `output` and `repeat_count` are templates; None as `input`: the workflow's input passes through."""

    type: Literal["component"] = "component"
    component: str
    action: str
    input: Any = None
    output: Any = None
    repeat_count: Any = None


class DelayJobSettings(_Job):
    """All values are templates. duration: seconds or text such as `1m`; time: ISO 8601, or a time of day."""

    type: Literal["delay"]
    mode: Literal["time-interval", "specific-time"] = "time-interval"
    duration: Any = None
    time: Any = None
    timezone: Any = None
    output: Any = None


class BranchSettings(_Settings):
    """One condition of an `if` job; `input` None compares the job's own input. The targets are job ids."""

    input: Any = None
    operator: Operator = "eq"
    value: Any = None
    if_true: str | None = None
    if_false: str | None = None


class IfJobSettings(_Job):
    type: Literal["if"]
    input: Any = None
    conditions: tuple[BranchSettings, ...]
    otherwise: str | None = None


class CaseSettings(_Settings):
    value: Any = None
    then: str


class SwitchJobSettings(_Job):
    type: Literal["switch"]
    input: Any = None
    cases: tuple[CaseSettings, ...]
    otherwise: str | None = None


class RoutingSettings(_Settings):
    to: str
    weight: float = 1.0


class RandomRouterJobSettings(_Job):
    """session: template; equal values are routed alike."""

    type: Literal["random-router"]
    mode: Literal["uniform", "weighted"] = "uniform"
    routings: tuple[RoutingSettings, ...]
    session: Any = None


class FilterJobSettings(_Job):
    """where: None keeps every item."""

    type: Literal["filter"]
    input: Any = None
    where: ConditionSettings | None = None
    output: Any = None


class ForEachJobSettings(_Job):
    """batch_size: template; how many items are worked on at once."""

    type: Literal["for-each"]
    input: Any = None
    batch_size: Any = 1
    do: CallSettings
    output: Any = None


class LoopJobSettings(_Job):
    """Exactly one of `while_` and `until`, tested after each iteration."""

    type: Literal["loop"]
    input: Any = None
    do: CallSettings
    while_: ConditionSettings | None = None
    until: ConditionSettings | None = None
    max_iteration_count: int = 100
    output: Any = None


JobSettings = Annotated[
    ComponentJobSettings
    | DelayJobSettings
    | IfJobSettings
    | SwitchJobSettings
    | RandomRouterJobSettings
    | FilterJobSettings
    | ForEachJobSettings
    | LoopJobSettings,
    Field(discriminator="type"),
]


def asked(job: JobSettings) -> tuple[str, str] | None:
    """The component and the action that a job asks, if any."""
    match job:
        case ComponentJobSettings():
            return job.component, job.action
        case ForEachJobSettings() | LoopJobSettings():
            return job.do.component, job.do.action
    return None


class WorkflowSettings(_Settings):
    """One workflow; `output` is a template over `${output}` (one implicit job) or `${jobs.<id>.output}`."""

    id: str
    name: str | None = None
    title: str | None = None
    description: str | None = None
    default: bool = False
    private: bool = False
    jobs: tuple[JobSettings, ...]
    output: Any = None


class SqliteSettings(_Settings):
    """Asynchronous runs in one file; for one router."""

    driver: Literal["sqlite"] = "sqlite"
    path: str


class PostgresSettings(_Settings):
    """Asynchronous runs in a PostgreSQL database that several routers share. url: a secret."""

    driver: Literal["postgres"]
    url: str


class RouterSettings(_Settings):
    """Everything the router needs. Written by `compose.plan`; file mode 0600, because of `auth_token`, `database` and
    `env`."""

    name: str = "model-compose"
    host: str = "127.0.0.1"
    port: int = 8080
    base_path: str = "/api"
    origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    auth_token: str | None = None
    max_concurrent_count: int = 0
    max_queue_length: int = 256
    max_body_bytes: int = 10_000_000
    run_timeout_s: float | None = None
    retention_s: float = 86_400
    shutdown_timeout_s: float = 30
    in_cluster: bool = False
    """Whether others are started in place of what ends, behind the same names, and tasks when they are asked for. Only
    then a run waits for a task that is not there, and a router that must end serves kept connections for a while."""
    database: Annotated[SqliteSettings | PostgresSettings, Field(discriminator="driver")] | None = None
    """None: asynchronous runs live as long as the process."""
    components: tuple[Annotated[ComponentSettings | WorkflowComponentSettings, Field(discriminator="type")], ...]
    workflows: tuple[WorkflowSettings, ...]
    env: dict[str, str] = {}
    """Values of the `${env.NAME}` that the templates read; values are never parsed again."""
    stages_path: str | None = None
    """A JSON file `{component id: Readiness}` that the supervisor keeps, for tasks that do not answer yet."""
