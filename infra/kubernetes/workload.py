"""What a set of pods is made from, said as data: one service of a file with its share of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

USER: Final = 10001
"""Whom everything in a pod runs as; no file in an image is its own."""

PRE_STOP_S: Final = 10
"""How long a pod that must go still takes what comes, while the cluster takes its address out of use."""
MARGIN_S: Final = 5
"""What a service gets beside the time of its last request before it is killed."""

Kind = Literal["task", "router", "page"]
Vendor = Literal["nvidia", "amd"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """type: as nodes are labelled; None for any. label: under which key; None for that of the vendor's own tools."""

    count: int
    vendor: Vendor = "nvidia"
    type: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a pod asks for and is limited to. cpu: processors. Of memory it gets what it asks for, and no more."""

    cpu_request: float
    cpu_limit: float
    memory_bytes: int
    gpu: Gpu | None = None


@dataclass(frozen=True, slots=True)
class Scaling:
    """Between how many pods the cluster chooses, 0 for none where nobody asks, and at how much of their processors.

    requests: for how many at once one pod is enough, where its processors do not tell: a GPU works.
    """

    min: int
    max: int
    target_percent: int = 70
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A volume that outlives the pods, and that one pod has for itself. path: where it is seen."""

    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageVolume:
    """An image in two, with tag and digest each: the task's without its weights, and the weights to be mounted.

    path: where the task looks for the root of the second one.
    """

    task: str
    weights: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One service. name: what others call it, and its objects.

    image: with tag and digest. architecture: of the image, as nodes are labelled. environment: what is no secret.
    secrets: the key of the export's Secret by the variable that it becomes. replicas: where nothing scales it.
    start_timeout_s: until a pod must be ready. request_timeout_s: what a request that already runs may take when the
    pod must go. calls: the workloads that it asks. reaches: TCP ports of what it asks outside of the export.
    volume: the image in two, where it has weights. built: what the machine that built it calls it, without a tag.
    """

    service: str
    kind: Kind
    name: str
    image: str
    architecture: str
    port: int
    share: Share
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    scaling: Scaling | None = None
    start_timeout_s: float = 300
    request_timeout_s: float = 25
    calls: tuple[str, ...] = ()
    reaches: tuple[int, ...] = ()
    claims: tuple[Claim, ...] = ()
    volume: ImageVolume | None = None
    built: str | None = None

    @property
    def grace_s(self) -> int:
        """From the wish that a pod goes until it is killed."""
        return round(PRE_STOP_S + self.request_timeout_s + MARGIN_S)

    @property
    def is_scaled_by_processors(self) -> bool:
        """Whether an HPA decides how many there are."""
        return self.scaling is not None and not self.is_scaled_by_requests

    @property
    def is_scaled_by_requests(self) -> bool:
        """Whether KEDA does: of what may sleep, and of what computes on GPUs, which no HPA measures."""
        return self.scaling is not None and (self.scaling.min == 0 or self.scaling.requests is not None)

    @property
    def may_sleep(self) -> bool:
        return self.scaling is not None and self.scaling.min == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """All of a file. name: of the application. hosts: under which it is reached from outside; none for any.

    token: the key of the Secret that holds the router's token; None where it asks for none. exposed: whether it may be
    reached from outside. base_path: of the router's API. notes: sentences for whoever deploys it.
    """

    name: str
    namespace: str
    workloads: tuple[Workload, ...]
    hosts: tuple[str, ...] = ()
    token: str | None = None
    exposed: bool = True
    base_path: str = "/api"
    notes: tuple[str, ...] = ()

    @property
    def secret(self) -> str:
        """The name of the Secret that the user makes."""
        return f"{self.name}-secrets"

    @property
    def secret_keys(self) -> list[str]:
        return sorted({key for workload in self.workloads for key in workload.secrets.values()})

    @property
    def router(self) -> Workload:
        return next(workload for workload in self.workloads if workload.kind == "router")

    def callers_of(self, workload: Workload) -> list[Workload]:
        return [other for other in self.workloads if workload.name in other.calls]
