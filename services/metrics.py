"""What a task tells Prometheus: its requests, its queue, its batch, its tokens, and how long they took."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from services.engine.base import Occupancy
from services.engine.tally import Distribution, Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Measured(Protocol):
    """An engine, as far as it can be measured."""

    tally: Tally

    @property
    def waiting(self) -> int:
        """Requests in the queue."""

    @property
    def running(self) -> int:
        """Requests that are computed."""

    @property
    def occupancy(self) -> Occupancy:
        """How full the runner is."""


class Metrics:
    """Of one task. The library of Prometheus is imported when somebody first asks, since most tasks are never asked."""

    def __init__(self, component: str, engine: Measured) -> None:
        self._component = component
        self._engine = engine
        self._outcomes = Counter[str]()

    def ended(self, outcome: str) -> None:
        """Count a request: `completed`, `cancelled`, or the code of its ServiceError, which is one of ours."""
        self._outcomes[outcome] += 1

    def render(self) -> bytes:
        """The whole page; may take a while the first time."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator["Metric"]:
        """As Prometheus' library asks for it."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        name, engine = self._component, self._engine
        requests = CounterMetricFamily(
            "model_compose_task_requests", "Requests that ended, by how.", labels=["component", "status"]
        )
        for outcome, count in sorted(self._outcomes.items()):
            requests.add_metric([name, outcome], count)
        yield requests
        tokens = CounterMetricFamily(
            "model_compose_task_tokens", "Tokens of completed requests.", labels=["component", "kind"]
        )
        tokens.add_metric([name, "prompt"], engine.tally.prompt_tokens)
        tokens.add_metric([name, "completion"], engine.tally.completion_tokens)
        yield tokens
        occupancy = engine.occupancy
        for key, description, value in (
            ("queued_requests", "Requests that wait.", engine.waiting),
            ("active_requests", "Requests that are computed.", engine.running),
            ("batch_rows", "Sequences that are computed together.", occupancy.rows),
            ("cached_tokens", "Tokens that the cache holds.", occupancy.cached_tokens),
            ("cache_limit_tokens", "Tokens that the cache can hold; 0: it has no limit.", occupancy.cache_tokens),
        ):
            gauge = GaugeMetricFamily(f"model_compose_task_{key}", description, labels=["component"])
            gauge.add_metric([name], value)
            yield gauge
        for key, description, values in (
            ("queue_wait", "How long requests waited for the model.", engine.tally.waits),
            ("time_to_first_token", "From a request to its first token or row.", engine.tally.first_tokens),
            ("time_per_output_token", "Between two tokens of a sequence, a request's mean.", engine.tally.later_tokens),
            ("step_duration", "One step: a token of every sequence, or a batch.", engine.tally.steps),
        ):
            histogram = HistogramMetricFamily(f"model_compose_task_{key}_seconds", description, labels=["component"])
            histogram.add_metric([name], list(_buckets(values)), values.total)
            yield histogram


def _buckets(values: Distribution) -> Iterator[tuple[str, float]]:
    """Prometheus counts in each bucket what lies below its bound."""
    below = 0
    for bound, count in zip([*map(float, values.bounds), float("inf")], list(values.counts), strict=True):
        below += count
        yield "+Inf" if bound == float("inf") else str(bound), below
