"""The components: models with their tasks, and workflows that are used like models."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Tag, model_validator

from compose.blocks import variant
from compose.spec.base import Spec, chosen
from compose.spec.controller import RuntimeSpec
from compose.written import (
    Count,
    Cpu,
    Device,
    Flag,
    Gpu,
    GpuType,
    Identifier,
    Memory,
    Percent,
    Plain,
    Positive,
    Template,
    Text,
    Texts,
    plain,
)
from infra.resources import Resources, read_gpu


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


class ResourcesSpec(Spec):
    """What the component's service may use. cpu: processors. memory: bytes. gpu: how many, or `TYPE:COUNT`."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Gpu | None = None
    gpu_type: GpuType | None = None

    @property
    def limits(self) -> Resources:
        count, type_ = read_gpu(self.gpu or 0)
        return Resources(self.cpu, self.memory, count, type_ or self.gpu_type)


class ScalingSpec(Spec):
    """Between how many replicas a cluster may choose, 0 for none while nobody asks, and how busy they should be.

    target: of the processors that they ask for, in percent; with GPUs, of `max_concurrent_count` of each.
    """

    min: Count = 1
    max: Positive
    target: Percent = 70


class ModelComponentSpec(Spec):
    """One model and the task it serves."""

    id: Identifier | None = None
    type: Annotated[Literal["model"], Plain]
    default: Flag = False
    task: Text
    model: ModelSpec
    driver: Annotated[Literal["huggingface"], Plain] = "huggingface"
    architecture: Text | None = None
    labels: Texts | None = None
    device: Device = "auto"
    precision: Annotated[Literal["auto", "float32", "float16", "bfloat16"], Plain] = "auto"
    quantization: Annotated[Literal["int8"], Plain] | None = None
    chat_template: Text | None = None
    fast_tokenizer: Flag = True
    preload: Flag = True
    max_concurrent_count: Count = 0
    max_queue_length: Count = 64
    runtime: RuntimeSpec | None = None
    resources: ResourcesSpec = ResourcesSpec()
    replicas: Positive = 1
    scaling: ScalingSpec | None = None
    actions: tuple[ActionSpec, ...] = (ActionSpec(),)

    @property
    def name(self) -> str:
        """The name of its service: its id, or its task where it has none."""
        return self.id or self.task

    def action(self, name: str | None) -> ActionSpec | None:
        """The action of this id, or the one that is meant when none is named."""
        return next((action for action in self.actions if action.id == name), None) if name else chosen(self.actions)


class WorkflowActionSpec(Spec):
    """Running another workflow of the file."""

    id: Identifier = "__action__"
    default: Flag = False
    workflow: Text
    input: Template = None
    output: Template = None


class WorkflowComponentSpec(Spec):
    """A component whose actions run workflows of the file; nothing is started for it."""

    id: Identifier | None = None
    type: Annotated[Literal["workflow"], Plain]
    default: Flag = False
    actions: tuple[WorkflowActionSpec, ...] = ()

    @property
    def name(self) -> str:
        return self.id or "workflow"

    def action(self, name: str | None) -> WorkflowActionSpec | None:
        """The action of this id, or the one that is meant when none is named."""
        return next((action for action in self.actions if action.id == name), None) if name else chosen(self.actions)


def _kind(data: Any) -> str | None:
    given = data.get("type") if isinstance(data, Mapping) else getattr(data, "type", None)
    return variant("component", plain(given))


ComponentSpec = Annotated[
    Annotated[ModelComponentSpec, Tag("component")] | Annotated[WorkflowComponentSpec, Tag("workflow component")],
    Discriminator(_kind),
]
