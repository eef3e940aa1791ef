"""The page for Prometheus: what is counted, with bounded labels, and at what cost."""

import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.errors import ServiceError
from services.router.limits import Gate
from services.router.messages import Run, RunStatus
from services.router.watching.metrics import Metrics

pytestmark = pytest.mark.unit

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(page: str) -> Samples:
    """Our series that are not 0, without buckets; names lose `model_compose_`."""
    return {
        (sample.name.removeprefix("model_compose_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("model_compose_") and sample.value and "le" not in sample.labels
    }


def run(workflow_id: str = "chat", **changes: Any) -> Run:
    found = Run("id", workflow_id, "request", kept=False, **changes)
    found.status = changes.get("status", RunStatus.COMPLETED)
    return found


def counted(metrics: Metrics) -> Samples:
    return {key: value for key, value in samples(metrics.render().decode()).items() if key[0] != "build_info"}


def test_a_run_is_counted_with_its_time_and_tokens() -> None:
    metrics = Metrics(["chat"])
    metrics.ended(run(usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "seed": 99}), 0.25)
    assert counted(metrics) == {
        ("runs_total", (("status", "completed"), ("workflow", "chat"))): 1,
        ("run_duration_seconds_count", (("workflow", "chat"),)): 1,
        ("run_duration_seconds_sum", (("workflow", "chat"),)): 0.25,
        ("tokens_total", (("kind", "prompt"), ("workflow", "chat"))): 3,
        ("tokens_total", (("kind", "completion"), ("workflow", "chat"))): 4,
    }


def test_what_has_not_happened_yet_shows_as_zero() -> None:
    page = Metrics(["chat"]).render().decode()
    for status in ("completed", "failed", "cancelled"):
        assert f'model_compose_runs_total{{status="{status}",workflow="chat"}} 0.0' in page


def test_a_run_refused_by_a_full_queue_is_counted_as_such_and_a_wrong_one_is_not() -> None:
    metrics = Metrics(["chat"])
    for status, code in ((429, "queue_full"), (422, "missing_input")):
        failed = run()
        failed.fail(ServiceError(status, code, "No."))
        metrics.ended(failed, 0)
    assert counted(metrics)["rejected_requests_total", (("reason", "queue_full"),)] == 1
    assert ("rejected_requests_total", (("reason", "missing_input"),)) not in counted(metrics)


def test_a_durable_run_of_an_earlier_file_is_counted_too() -> None:
    metrics = Metrics(["chat"])
    metrics.ended(run("gone"), 1)
    metrics.ended(run("gone"), 1)
    assert counted(metrics)["runs_total", (("status", "completed"), ("workflow", "gone"))] == 2


async def test_a_gate_shows_who_is_at_work_and_how_long_they_waited() -> None:
    metrics = Metrics([])
    gate = Gate("It", 1, 1, status=429, code="queue_full")
    metrics.watch("chat", gate)
    async with gate.turn():
        assert counted(metrics)["active_requests", (("component", "chat"),)] == 1
    assert counted(metrics)["queue_wait_seconds_count", (("component", "chat"),)] == 1


def test_a_workflow_may_be_called_anything() -> None:
    metrics = Metrics(['a"b\\c\nd'])
    metrics.ended(run('a"b\\c\nd'), 1)
    assert ("runs_total", (("status", "completed"), ("workflow", 'a"b\\c\nd'))) in counted(metrics)


def test_counting_a_run_takes_microseconds() -> None:
    metrics = Metrics(["chat"])
    ended = run(usage={"prompt_tokens": 3, "completion_tokens": 4})

    def timed() -> float:
        began = time.perf_counter()
        for _ in range(1000):
            metrics.ended(ended, 0.25)
        return (time.perf_counter() - began) / 1000

    assert min(timed() for _ in range(5)) < 100e-6  # 5 us on an idle machine
