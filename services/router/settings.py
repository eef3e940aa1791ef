"""What the router process reads at start: the file's components and workflows with their templates, as data."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionSettings(_Settings):
    """One action of a component. `fields` holds the templates by catalog name (`messages`, `text`, `temperature`, ...):
    generation parameters are already lifted out of `params`, and the task's documented defaults are already put in."""

    id: str
    default: bool = False
    fields: dict[str, Any]
    output: Any = None
    """Template over `${result}`; None: the result passes through."""
    streaming: bool = False


class ComponentSettings(_Settings):
    """One model component and where its service listens (`unix:/path` or `http://host:port`)."""

    id: str
    task: str
    model: str
    endpoint: str
    default: bool = False
    actions: tuple[ActionSettings, ...]
    max_concurrent_count: int = 0
    max_queue_length: int = 64


class JobSettings(_Settings):
    """One job of a workflow; `input`, `output` and `repeat_count` are templates."""

    id: str
    type: Literal["component"] = "component"
    component: str
    action: str
    input: Any = None
    """None: the workflow's input passes through."""
    output: Any = None
    """Template over `${output}`; None: the result passes through."""
    repeat_count: Any = None
    depends_on: tuple[str, ...] = ()


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


class RouterSettings(_Settings):
    """Everything the router needs. Written by `compose.plan`; file mode 0600, because of `auth_token` and `env`."""

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
    components: tuple[ComponentSettings, ...]
    workflows: tuple[WorkflowSettings, ...]
    env: dict[str, str] = {}
    """Values of the `${env.NAME}` that the templates read; values are never parsed again."""
    stages_path: str | None = None
    """A JSON file `{component id: Readiness}` that the supervisor keeps, for tasks that do not answer yet."""
