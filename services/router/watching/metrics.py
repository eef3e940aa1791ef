"""What the router counts, in Prometheus' text format; labels come from the file or from us, never from a client."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.router.limits import Gate
from services.router.messages import Run, RunStatus

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_RUN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAIT_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TASK_STATUSES = ("completed", "failed", "cancelled")

_REMEMBERED_S = 60
"""How long a request that found nobody counts as one that wants somebody: its client comes again sooner."""


class DurableCounts(Protocol):
    """What there is to know of the asynchronous runs: how many wait and run now, and how many since the start were
    claimed, were claimed after another router's end, and were lost to another one."""

    @property
    def waiting(self) -> int: ...
    @property
    def active(self) -> int: ...

    claimed: int
    recovered: int
    lost_leases: int


class Waiting(Protocol):
    @property
    def waiting(self) -> int: ...


class _DurableCollector(Collector):
    """Reads them when somebody asks."""

    def __init__(self, runs: DurableCounts) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        runs = self._runs
        now = GaugeMetricFamily("model_compose_durable_runs", "Asynchronous runs by state.", labels=["state"])
        now.add_metric(["waiting"], runs.waiting)
        now.add_metric(["active"], runs.active)
        yield now
        for name, description, value in (
            ("claimed_runs", "Asynchronous runs taken up.", runs.claimed),
            ("recovered_runs", "Of these, runs that another router had begun and left.", runs.recovered),
            ("lost_leases", "Asynchronous runs that another router took over.", runs.lost_leases),
        ):
            yield CounterMetricFamily(f"model_compose_durable_{name}", description, value=value)


@dataclass(frozen=True, slots=True)
class _WorkflowMetrics:
    """The series of one workflow, looked up once: to find one by its labels takes longer than to count."""

    ended: dict[RunStatus, Counter]
    seconds: Histogram
    tokens: dict[str, Counter]


class Metrics:
    """Counters of one router. workflows: the ids in the file; what has not happened yet shows as 0."""

    def __init__(self, workflows: Iterable[str]) -> None:
        # The time at which each series was made would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotation
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        build = Gauge("model_compose_build_info", "Which version runs.", ["version"], registry=self._registry)
        build.labels(tool_version()).set(1)
        self._runs = self._counter("runs", "Runs that ended, by their last state.", "workflow", "status")
        self._seconds = self._histogram(
            "run_duration", "Time that runs took, waiting included.", _RUN_BUCKETS, "workflow"
        )
        self._tokens = self._counter("tokens", "Tokens read and written by models.", "workflow", "kind")
        self._rejected = self._counter("rejected_requests", "Requests refused, by the code of their error.", "reason")
        self._active = self._gauge("active_requests", "Requests at work.")
        self._queued = self._gauge("queued_requests", "Requests that wait.")
        self._wanted = self._gauge(
            "wanted_requests", "Requests at work or waiting for a service, and one if a late one found none."
        )
        self._waits = self._histogram("queue_wait", "How long requests waited for their turn.", _WAIT_BUCKETS)
        self._tasks = self._histogram(
            "task_request_duration", "Time that requests to tasks took.", _RUN_BUCKETS, "component", "status"
        )
        self._first = self._histogram(
            "time_to_first_token", "From a request to a task to the first text of its stream.", _WAIT_BUCKETS
        )
        self._workflows = {name: self._of_workflow(name) for name in workflows}

    def watch(self, name: str, gate: Gate) -> None:
        """Show a gate's queue. name: a component's id, or `router` for the router's own."""
        self._active.labels(name).set_function(lambda: gate.active)
        self._queued.labels(name).set_function(lambda: gate.queued)
        gate.on_waited = self._waits.labels(name).observe

    def watch_durable(self, runs: DurableCounts) -> None:
        """Show how the asynchronous runs fare."""
        self._registry.register(_DurableCollector(runs))

    def task(self, component: str, waiting: Waiting | None = None) -> "TaskMetrics":
        """Where the requests to one component are counted. waiting: those that wait for its service to come."""
        durations = {status: self._tasks.labels(component, status) for status in _TASK_STATUSES}
        metrics = TaskMetrics(durations, self._first.labels(component))
        self._wanted.labels(component).set_function(lambda: metrics.wanted + (waiting.waiting if waiting else 0))
        return metrics

    def rejected(self, code: str) -> None:
        """Count a request that was refused. code: the ServiceError's, which is one of ours."""
        self._rejected.labels(code).inc()

    def ended(self, run: Run, duration_s: float) -> None:
        """Count a finished run; the duration includes its waiting."""
        workflow = self._workflows.get(run.workflow_id)
        if workflow is None:  # of an earlier file: a durable run that cannot go on
            workflow = self._workflows[run.workflow_id] = self._of_workflow(run.workflow_id)
        workflow.ended[run.status].inc()
        workflow.seconds.observe(duration_s)
        for key, counter in workflow.tokens.items():
            if count := run.usage.get(key):
                counter.inc(count)
        if run.error is not None and run.error_status in (429, 503):
            self.rejected(run.error["code"])

    def render(self) -> bytes:
        """The whole page."""
        return generate_latest(self._registry)

    def _of_workflow(self, name: str) -> _WorkflowMetrics:
        return _WorkflowMetrics(
            {status: self._runs.labels(name, status) for status in RunStatus if status.finished},
            self._seconds.labels(name),
            {f"{kind}_tokens": self._tokens.labels(name, kind) for kind in ("prompt", "completion")},
        )

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"model_compose_{name}", description, labels, registry=self._registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(f"model_compose_{name}", description, ["component"], registry=self._registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(
            f"model_compose_{name}_seconds",
            description,
            labels or ("component",),
            buckets=buckets,
            registry=self._registry,
        )


class TaskMetrics:
    """The requests to one component. durations: by `completed`, `failed` or `cancelled`. clock: in seconds."""

    def __init__(
        self, durations: dict[str, Histogram], first_text: Histogram, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._durations = durations
        self._first_text = first_text
        self._clock = clock
        self._active = 0
        self._missed_s: float | None = None

    @property
    def wanted(self) -> int:
        """Above 0 while anybody asks for the component, whether it is there or not: what wakes one that sleeps."""
        missed = self._missed_s is not None and self._clock() - self._missed_s < _REMEMBERED_S
        return self._active + missed

    def began(self) -> None:
        self._active += 1

    def missed(self) -> None:
        """Nobody was there to take the request."""
        self._missed_s = self._clock()

    def first_text(self, seconds: float) -> None:
        """The first text of a stream has come."""
        self._first_text.observe(seconds)

    def ended(self, status: str, seconds: float) -> None:
        self._active -= 1
        self._durations[status].observe(seconds)


def tool_version() -> str:
    """Our own version; `unknown` where only the sources are there."""
    try:
        return version("model-compose")
    except PackageNotFoundError:
        return "unknown"
