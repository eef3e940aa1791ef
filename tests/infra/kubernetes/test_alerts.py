"""Prometheus' own tool reads the rules, and each alert fires for what it is about and for nothing else."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from infra.kubernetes.observing.alerts import rule_groups
from infra.kubernetes.observing.panels import dashboard_of
from infra.kubernetes.observing.scraping import scrape_configuration
from tests.infra.kubernetes.examples import EVERY, export
from tests.infra.kubernetes.prometheus import promtool, questions, recorded, replaced, write

pytestmark = pytest.mark.kube

Series = dict[str, str]
"""The values of a series, a minute apart, by what is behind the namespace in its selector."""

DOCUMENT = Path(__file__).parents[3] / "docs" / "alerts.md"
ROUTER = 'job="router",pod="router-1"'
OTHER_ROUTER = 'job="router",pod="router-2"'
READER = 'job="task-reader",pod="reader-1",component="reader"'
WRITER = f'{ROUTER},component="Writer"'
WAITS = "model_compose_queue_wait_seconds"
TASK_WAITS = "model_compose_task_queue_wait_seconds"
REQUESTS = "model_compose_task_request_duration_seconds_count"


@dataclass(frozen=True)
class Case:
    """series: of the namespace `shop`. fires: the labels of each alert. values: what its value is written as."""

    alert: str
    after_min: int
    series: Series
    fires: list[dict[str, str]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


FIRE = [
    Case("Down", 10, {}, [{"job": "router"}, {"job": "task-reader"}]),
    Case("Down", 10, {f"up{{{ROUTER}}}": "1x9", f"up{{{READER}}}": "0x20"}, [{"job": "task-reader"}]),
    Case(
        "TaskNotAnswering",
        30,
        {f"model_compose_wanted_requests{{{WRITER}}}": "1x60", f'{REQUESTS}{{{WRITER},status="completed"}}': "7x60"},
        [{"job": "task-writer-0e3c5fe0", "component": "Writer"}],
    ),
    Case(
        "RunsFail",
        20,
        {
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="failed"}}': "0+1x60",
            f'model_compose_runs_total{{{OTHER_ROUTER},workflow="answer",status="failed"}}': "0+1x60",
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="completed"}}': "0+8x60",
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="cancelled"}}': "0+90x60",
        },
        [{"workflow": "answer"}],
        {"{{ $value | humanizePercentage }}": "20%"},
    ),
    Case(
        "RequestsRefused",
        30,
        {
            f'model_compose_rejected_requests_total{{{ROUTER},reason="queue_full"}}': "0+1x60",
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="completed"}}': "0+4x60",
            f'model_compose_runs_total{{{OTHER_ROUTER},workflow="other",status="completed"}}': "0+5x60",
        },
        [{"reason": "queue_full"}],
        {"{{ $value | humanizePercentage }}": "10%"},
    ),
    Case(
        "RequestsWait",
        70,
        {f'{WAITS}_bucket{{{WRITER},le="5.0"}}': "0+9x90", f"{WAITS}_count{{{WRITER}}}": "0+10x90"},
        [{"component": "Writer"}],
        {"{{ $value | humanizePercentage }}": "10%"},
    ),
    Case(
        "RequestsWait",
        70,
        {f'{TASK_WAITS}_bucket{{{READER},le="5.0"}}': "0+5x90", f"{TASK_WAITS}_count{{{READER}}}": "0+10x90"},
        [{"component": "reader"}],
        {"{{ $value | humanizePercentage }}": "50%"},
    ),
    Case(
        "RunsStuck",
        40,
        {
            f'model_compose_durable_runs{{{ROUTER},state="waiting"}}': "3x60",
            f'model_compose_durable_runs{{{OTHER_ROUTER},state="waiting"}}': "3x60",
            f"model_compose_durable_claimed_runs_total{{{ROUTER}}}": "9x60",
        },
        [{}],
        {"{{ $value }}": "3"},
    ),
    Case(
        "Restarts",
        45,
        {'process_start_time_seconds{job="task-reader",pod="reader-1"}': "100x10 200x10 300x10 400x20"},
        [{"job": "task-reader", "pod": "reader-1"}],
        {"{{ $value }}": "3"},
    ),
    Case(
        "MemoryNearlyFull",
        20,
        {'process_resident_memory_bytes{job="task-reader",pod="reader-1"}': f"{4 * 2**30 - 1}x60"},
        [{"job": "task-reader", "pod": "reader-1"}],
        {"{{ $value | humanize1024 }}": "4Gi"},
    ),
]
QUIET = [
    Case("Down", 10, {f"up{{{ROUTER}}}": "0x20", f"up{{{OTHER_ROUTER}}}": "1x20", f"up{{{READER}}}": "1x20"}),
    Case("Down", 10, {f"up{{{ROUTER}}}": "1x7 _x20", f"up{{{READER}}}": "1x20"}),
    Case(
        "TaskNotAnswering",
        30,
        {f"model_compose_wanted_requests{{{WRITER}}}": "9x60", f'{REQUESTS}{{{WRITER},status="completed"}}': "0+1x60"},
    ),
    Case(
        "TaskNotAnswering",
        17,
        {f"model_compose_wanted_requests{{{WRITER}}}": "1x60", f'{REQUESTS}{{{WRITER},status="completed"}}': "7x60"},
    ),
    Case(
        "RunsFail",
        20,
        {
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="failed"}}': "0+1x60",
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="completed"}}': "0+30x60",
        },
    ),
    Case("RunsFail", 20, {f'model_compose_runs_total{{{ROUTER},workflow="answer",status="failed"}}': "0x9 1 2 3 4x60"}),
    Case(
        "RequestsRefused",
        30,
        {
            f'model_compose_rejected_requests_total{{{ROUTER},reason="unknown_field"}}': "0+50x60",
            f'model_compose_rejected_requests_total{{{ROUTER},reason="not_ready"}}': "0+50x60",
            f'model_compose_runs_total{{{ROUTER},workflow="answer",status="completed"}}': "0+5x60",
        },
    ),
    Case(
        "RequestsWait",
        85,
        {f'{WAITS}_bucket{{{WRITER},le="5.0"}}': "0+5x60 310+10x40", f"{WAITS}_count{{{WRITER}}}": "0+10x90"},
    ),
    Case(
        "RequestsWait",
        70,
        {f'{WAITS}_bucket{{{WRITER},le="5.0"}}': "0+10x60 600x30", f"{WAITS}_count{{{WRITER}}}": "0+10x60 602+1x30"},
    ),
    Case(
        "RunsStuck",
        40,
        {
            f'model_compose_durable_runs{{{ROUTER},state="waiting"}}': "3x60",
            f"model_compose_durable_claimed_runs_total{{{OTHER_ROUTER}}}": "0+1x60",
        },
    ),
    Case("Restarts", 45, {'process_start_time_seconds{job="router",pod="router-1"}': "100x10 200x10 300x30"}),
    Case("MemoryNearlyFull", 20, {'process_resident_memory_bytes{job="router",pod="router-1"}': f"{2**29}x60"}),
]


def selected(series: Series, namespace: str) -> list[dict[str, str]]:
    return [
        {"series": name.replace("{", f'{{namespace="{namespace}",', 1), "values": values}
        for name, values in series.items()
    ]


def expected(case: Case, labels: dict[str, str]) -> dict[str, Any]:
    """An alert as it is sent, by the rule of its job."""
    rules = [rule for rule in rule_groups(export("shop"))["groups"][0]["rules"] if rule["alert"].endswith(case.alert)]
    (rule,) = [rule for rule in rules if rule["labels"].get("job") in (None, labels.get("job"))]
    told = {**labels, **rule["labels"]}
    written = {**case.values, **{f"{{{{ $labels.{name} }}}}": value for name, value in told.items()}}
    texts = {key: replaced(text, written) for key, text in rule["annotations"].items()}
    return {"exp_labels": told, "exp_annotations": texts}


def judge(folder: Path, case: Case, others: Series) -> None:
    """Raises ValueError where alerts are not those of the case. others: series of another installation."""
    rules = write(folder / "alerts.yaml", rule_groups(export("shop")))
    test = {
        "interval": "1m",
        "input_series": selected(case.series, "shop") + selected(others, "market"),
        "alert_rule_test": [
            {
                "eval_time": f"{case.after_min}m",
                "alertname": f"ModelCompose{case.alert}",
                "exp_alerts": [expected(case, labels) for labels in case.fires],
            }
        ],
    }
    tests = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}
    promtool("test", "rules", write(folder / "test.yaml", tests))


@pytest.mark.parametrize("case", FIRE, ids=lambda case: case.alert)
def test_an_alert_fires_for_what_it_is_about(tmp_path: Path, case: Case) -> None:
    judge(tmp_path, case, {f"up{{{ROUTER}}}": "1x99", f"up{{{READER}}}": "1x99"})


@pytest.mark.parametrize("case", QUIET, ids=lambda case: case.alert)
def test_an_alert_is_quiet_for_less_and_for_another_installation(tmp_path: Path, case: Case) -> None:
    worst = next(each for each in FIRE if each.alert == case.alert)
    judge(tmp_path, case, worst.series)


def test_a_wrong_expectation_is_told(tmp_path: Path) -> None:
    for case in (replace(FIRE[0], fires=[]), replace(QUIET[0], fires=[{"job": "router"}])):
        with pytest.raises(ValueError, match="FAILED"):
            judge(tmp_path, case, {})


def test_every_alert_is_seen_to_fire_and_to_be_quiet_and_is_documented() -> None:
    names = {rule["alert"] for rule in rule_groups(export("shop"))["groups"][0]["rules"]}
    for cases in (FIRE, QUIET):
        assert {f"ModelCompose{case.alert}" for case in cases} == names
    headings = {
        line.removeprefix("### ") for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("### ")
    }
    assert headings == names


@pytest.mark.parametrize("name", EVERY)
def test_prometheus_reads_the_alerts_and_what_the_dashboard_asks(tmp_path: Path, name: str) -> None:
    told = export(name)
    asked = list(questions(dashboard_of(told)))
    assert not [expr for expr in asked if "$" in expr]
    said = promtool("check", "rules", write(tmp_path / "alerts.yaml", rule_groups(told)))
    assert "SUCCESS" in said
    said = promtool("check", "rules", write(tmp_path / "dashboard.yaml", recorded(iter(asked))))
    assert f"SUCCESS: {len(asked)} rules found" in said


def test_a_wrong_expression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promtool("check", "rules", write(tmp_path / "wrong.yaml", recorded(iter(["sum(up"]))))


@pytest.mark.parametrize("name", EVERY)
def test_prometheus_reads_the_configuration(tmp_path: Path, name: str) -> None:
    """All but how pods are found, which Debian's build leaves out."""
    configuration = scrape_configuration(export(name))
    for job in configuration["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs")[0]["namespaces"]["names"] == [export(name).namespace]
    written = write(tmp_path / "scrape.yaml", configuration)
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", written)
