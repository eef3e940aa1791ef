"""What a task process reads at start: `task.json`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["auto", "float32", "float16", "bfloat16"]


class TaskResources(BaseModel):
    """What BentoML is told that the service may use: cpu and memory in Kubernetes' units, None and 0 for nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str | None = None
    memory: str | None = None
    gpu: int = 0


class TaskSettings(BaseModel):
    """One model task. Written by `compose.plan`, read by `services.entry`; no secret ever stands in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str
    """The component's id, for logs."""
    task: str
    """A name from services.catalog."""
    model: str
    """How the user named the model, for messages."""
    model_path: Path
    """A local folder with config.json, safetensors and tokenizer files; nothing is fetched."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    precision: Precision = "auto"
    quantization: Literal["int8"] | None = None
    chat_template: str | None = None
    """Overrides the repository's own; only the file may give one, never a client."""
    fast_tokenizer: bool = True
    labels: tuple[str, ...] | None = None
    """Names of a classification's classes, in their order, instead of the repository's own."""
    max_concurrent_count: int = 0
    """Requests inside the model at once; 0: the engine decides."""
    max_queue_length: int = 64
    threads: int | None = None
    """Torch's threads; None: torch decides."""
    resources: TaskResources = TaskResources()
    start_record: Path | None = None
    """A file of the task's own: how long it took to load, for the estimate of the next start."""
