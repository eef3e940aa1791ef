"""What a runtime starts, said without knowing which runtime it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UnitState = Literal["waiting", "preparing", "starting", "ready", "restarting", "failed", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file bound by the runtime (mode 0600 in a 0700 folder) and handed to the child as a descriptor."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port bound by the runtime and handed to the child as a descriptor."""

    host: str
    port: int


Address = UnixAddress | TcpAddress


@dataclass(frozen=True, slots=True)
class Unit:
    """One service to start and keep running.

    module: run as `python -m MODULE SETTINGS --fd N`; it serves HTTP on that descriptor.
    settings: JSON text, written to a file of mode 0600 before the start.
    prepare: a module and its arguments, run to its end before the first start (a download). It prints one JSON object
        a line, `{"stage": "downloading", "progress": 0.4, "seconds_left": 12}`; a last line `{"error": {"message",
        "hint"}}` and a non-zero exit say why it failed.
    ready_path: answers 200 when the unit is ready; until then 503 with a `stage`.
    memory_limited: whether the system ends it where it needs more memory than the file gives it.
    """

    name: str
    kind: Literal["task", "router", "page"]
    module: str
    settings: str
    address: Address
    ready_path: str
    prepare: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare_environment: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = 600
    stop_timeout_s: float = 30
    memory_limited: bool = False
