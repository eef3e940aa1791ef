"""What the user wants: the file in today's dialect, as typed and frozen values."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from compose.written import (
    BasePath,
    Bytes,
    Count,
    Device,
    Environment,
    Flag,
    Identifier,
    Plain,
    Port,
    Seconds,
    Template,
    Text,
    Texts,
    plain,
)


class Spec(BaseModel):
    """A block of the file: closed and frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class _Selectable(Protocol):
    @property
    def default(self) -> bool: ...


S = TypeVar("S", bound=_Selectable)


def chosen(items: Sequence[S]) -> S | None:
    """The one that is meant when none is named: the only one, else the only one with `default: true`."""
    candidates = items if len(items) == 1 else [item for item in items if item.default]
    return candidates[0] if len(candidates) == 1 else None


class AdapterSpec(Spec):
    """The HTTP interface."""

    type: Annotated[Literal["http-server"], Plain] = "http-server"
    host: Text = "127.0.0.1"
    port: Port = 8080
    base_path: BasePath = "/api"
    origins: Texts = ()


class WebUiSpec(Spec):
    """The page."""

    driver: Annotated[Literal["gradio"], Plain] = "gradio"
    host: Text = "127.0.0.1"
    port: Port = 8081


class AuthSpec(Spec):
    """Who may use an interface that other machines can reach."""

    token: Text | None = None
    insecure: Flag = False


class RuntimeSpec(Spec):
    """Where a component runs; durations in seconds."""

    type: Annotated[Literal["process"], Plain] = "process"
    start_timeout: Seconds | None = None
    stop_timeout: Seconds | None = None
    environment: Environment = {}


class ControllerSpec(Spec):
    """The router and the page. `max_body_size` in bytes, durations in seconds; a count of 0 is no limit."""

    name: Text = "model-compose"
    adapters: tuple[AdapterSpec, ...] = (AdapterSpec(),)
    webui: WebUiSpec | None = None
    max_concurrent_count: Count = 0
    max_queue_length: Count = 256
    max_body_size: Bytes = 10_000_000
    run_timeout: Seconds | None = None
    retention: Seconds = 86_400
    auth: AuthSpec = AuthSpec()
    allowed_hosts: Texts = ()
    runtime: RuntimeSpec | None = None
    shutdown_timeout: Seconds = 30

    @property
    def adapter(self) -> AdapterSpec:
        return self.adapters[0]


class ModelSpec(Spec):
    """Which model: a repository on the hub, or a local folder, which `path` may give relative to the file."""

    provider: Annotated[Literal["huggingface", "local"], Plain] = "huggingface"
    repository: Text | None = None
    revision: Text | None = None
    token: Text | None = None
    cache_dir: Text | None = None
    local_files_only: Flag = False
    path: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        text = plain(data)
        if not isinstance(text, str):
            return data
        return {"provider": "local", "path": text} if looks_like_path(text) else {"repository": text}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider == "local":
            foreign = self.model_fields_set - {"provider", "path"}
            if not self.path or foreign:
                raise ValueError("with `provider: local` takes `path` and nothing else")
        elif not self.repository or self.path is not None:
            raise ValueError("with `provider: huggingface` needs `repository` and takes no `path`")
        elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.repository, re.ASCII):
            raise ValueError(f"must be OWNER/NAME or a path that begins with ./, not `{self.repository}`")
        return self

    @property
    def name(self) -> str:
        """As the user named it."""
        return self.repository or self.path or ""


def looks_like_path(text: str) -> bool:
    """Whether a `model` text means a local folder; a hub repository is NAME or OWNER/NAME."""
    return text.startswith((".", "/", "~")) or text.endswith("/") or text.count("/") > 1


class ActionSpec(Spec):
    """One thing a component can be asked. Its fields and parameters, by catalog name, are in `fields`."""

    model_config = ConfigDict(extra="allow")

    id: Identifier = "__action__"
    default: Flag = False
    output: Template = None

    @property
    def fields(self) -> dict[str, Template]:
        return dict(self.model_extra or {})


class ModelComponentSpec(Spec):
    """One model and the task it serves."""

    id: Identifier | None = None
    type: Annotated[Literal["model"], Plain]
    default: Flag = False
    task: Text
    model: ModelSpec
    driver: Annotated[Literal["huggingface"], Plain] = "huggingface"
    architecture: Text | None = None
    device: Device = "auto"
    precision: Annotated[Literal["auto", "float32", "float16", "bfloat16"], Plain] = "auto"
    quantization: Annotated[Literal["int8"], Plain] | None = None
    chat_template: Text | None = None
    fast_tokenizer: Flag = True
    preload: Flag = True
    max_concurrent_count: Count = 0
    max_queue_length: Count = 64
    runtime: RuntimeSpec | None = None
    actions: tuple[ActionSpec, ...] = (ActionSpec(),)

    @property
    def name(self) -> str:
        """The name of its service: its id, or its task where it has none."""
        return self.id or self.task

    def action(self, name: str | None) -> ActionSpec | None:
        """The action of this id, or the one that is meant when none is named."""
        return next((action for action in self.actions if action.id == name), None) if name else chosen(self.actions)


class JobSpec(Spec):
    """One step of a workflow: an action of a component. None as `input` is the workflow's own input."""

    id: Identifier = "__job__"
    name: Text | None = None
    type: Annotated[Literal["component"], Plain] = "component"
    component: Text | None = None
    action: Text | None = None
    input: Template = None
    output: Template = None
    repeat_count: Template = None
    depends_on: Texts = ()


class WorkflowSpec(Spec):
    """Jobs, and what their outputs make together."""

    id: Identifier = "__workflow__"
    name: Text | None = None
    title: Text | None = None
    description: Text | None = None
    default: Flag = False
    private: Flag = False
    jobs: tuple[JobSpec, ...] = (JobSpec(),)
    output: Template = None


class ComposeSpec(Spec):
    """The whole file. Without a controller block the defaults hold and the page is shown."""

    controller: ControllerSpec = ControllerSpec(webui=WebUiSpec())
    components: tuple[ModelComponentSpec, ...]
    workflows: tuple[WorkflowSpec, ...] = (WorkflowSpec(),)

    def component(self, name: str | None) -> ModelComponentSpec | None:
        """The component of this id, or the one that is meant when none is named.

        The only component without an id answers to every id that no other one bears.
        """
        if name is None:
            return chosen(self.components)
        unnamed = [component for component in self.components if component.id is None]
        named = (component for component in self.components if component.id == name)
        return next(named, unnamed[0] if len(unnamed) == 1 else None)
