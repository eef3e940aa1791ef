"""What alerts and dashboard name is what a real router and a real task show, the export being of the very same file."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from builders.lock import Lock, LockedModel
from compose.images import services_of
from compose.loader import load_spec
from compose.workloads import Cluster, ClusterImage, export_of
from infra.kubernetes.observing.alerts import FULL, rule_groups
from infra.kubernetes.observing.panels import dashboard_of
from infra.kubernetes.workload import Export
from tests.e2e.project import Project
from tests.infra.kubernetes.prometheus import questions
from tests.net import free_port

pytestmark = pytest.mark.server

ROOT: Final = Path(__file__).parents[3]
FILE: Final = """
component:
  id: toy
  type: model
  task: chat-completion
  model: ./model
  max_concurrent_count: 1
  max_queue_length: 1
workflow: {id: ask, jobs: [{id: answer, component: toy}]}
"""
QUESTION: Final = {"user_prompt": "Tell me about the moon."}
BY_PROMETHEUS: Final = frozenset({"namespace", "job", "pod"})
"""Labels that collecting adds."""
SELECTOR: Final = re.compile(r'([a-z_]+)\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\}')
MATCHER: Final = re.compile(r'(\w+)(=~|=|!=)("(?:[^"\\]|\\.)*")')

Samples = dict[str, list[Mapping[str, str]]]
"""The labels of each series, by its name."""


@dataclass(frozen=True)
class Pages:
    """What is collected of one installation, by job."""

    export: Export
    of_job: Mapping[str, Samples]

    def series(self, name: str, job: str | None) -> list[Mapping[str, str]]:
        """Those of one job, or of all."""
        pages = self.of_job.values() if job is None else [self.of_job[job]]
        return [labels for page in pages for labels in page.get(name, ())]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("observed")
    shutil.copytree(ROOT / "examples" / "quickstart" / "model", folder / "model")
    project = Project(folder, dict(os.environ), free_port(), free_port())
    project.write(project.with_controller(FILE))
    with project.running(), httpx.Client(base_url=f"http://127.0.0.1:{project.port}", timeout=60) as client:
        with ThreadPoolExecutor(6) as pool:  # one is answered, one waits, and the others are refused
            runs = pool.map(
                lambda _: client.post("/api/workflows/runs", json={"input": QUESTION}).status_code, range(6)
            )
            assert set(runs) == {200, 429}
        services = json.loads(project.command("ps", "--json").stdout)["services"]
        (address,) = [each["address"] for each in services if each["name"] == "toy"]
        with httpx.Client(transport=httpx.HTTPTransport(uds=address.removeprefix("unix:"))) as task:
            page = task.get("http://task/metrics").text
        export = exported(folder)
        jobs = {each.kind: each.name for each in export.workloads}
        yield Pages(export, {jobs["router"]: samples(client.get("/metrics").text), jobs["task"]: samples(page)})


def exported(folder: Path) -> Export:
    """What a cluster would be told of it."""
    file = load_spec((folder / "model-compose.yml",), environ={})
    lock = Lock("1", models={"./model": LockedModel(None, {}, 5_000_000)})
    images = {name: ClusterImage(f"me/it:1@sha256:{'1' * 64}", "amd64") for name in services_of(file)}
    return export_of(file, lock, images, Cluster(name="shop", namespace="shop", target="cpu"))


def samples(page: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def asked(export: Export) -> list[str]:
    rules = rule_groups(export)["groups"][0]["rules"]
    return [*(rule["expr"] for rule in rules), *questions(dashboard_of(export))]


def problems(expr: str, pages: Pages) -> Iterator[str]:
    for name, inside in SELECTOR.findall(expr):
        if name == "up":
            continue
        matchers = [(label, how, json.loads(value)) for label, how, value in MATCHER.findall(inside)]
        job = next((value for label, how, value in matchers if (label, how) == ("job", "=")), None)
        series = pages.series(name, job)
        for label, how, value in matchers:
            if label not in BY_PROMETHEUS:
                series = [each for each in series if label in each and fits(each[label], how, value)]
        if not series:
            yield f"nobody shows {name}{{{inside}}}"
    for labels, inner in grouped(expr):
        names = [name for name, _ in SELECTOR.findall(inner) if name != "up"]
        for name in names:
            known = BY_PROMETHEUS.union(*pages.series(name, None))
            yield from (f"{name} has no label {label}" for label in labels if label not in known)


def fits(value: str, how: str, wanted: str) -> bool:
    return {"=": value == wanted, "!=": value != wanted, "=~": re.fullmatch(wanted, value) is not None}[how]


def grouped(expr: str) -> Iterator[tuple[list[str], str]]:
    """The labels of each aggregation, and what is aggregated."""
    for found in re.finditer(r"by \(([^)]*)\) \(", expr):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(expr[end], 0)
            end += 1
        yield found[1].split(", "), expr[found.end() : end - 1]


def test_everything_that_is_asked_is_shown(pages: Pages) -> None:
    exprs = asked(pages.export)
    assert len(exprs) > 60
    assert [problem for expr in exprs for problem in problems(expr, pages)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs_total", "runs_ended_total"),
        ('status="failed"', 'status="lost"'),
        ('le="5.0"', 'le="5"'),
        ("namespace, workflow", "namespace, flow"),
        ("queue_full", "queue_is_full"),
        ("task_batch_rows", "task_rows"),
        ("process_start_time_seconds", "process_start_seconds"),
        ('job="router"', 'job="task-toy"'),
    ],
)
def test_what_nobody_shows_is_noticed(pages: Pages, old: str, new: str) -> None:
    changed = [expr.replace(old, new) for expr in asked(pages.export) if old in expr]
    assert changed
    assert [problem for expr in changed for problem in problems(expr, pages)] != []


def test_legends_name_labels_that_are_left(pages: Pages) -> None:
    targets = [each for panel in dashboard_of(pages.export)["panels"] for each in panel.get("targets", ())]
    legends = [(each["expr"], label) for each in targets for label in re.findall(r"{{(\w+)}}", each["legendFormat"])]
    assert legends
    for expr, label in legends:
        groups = [labels for labels, _ in grouped(expr)]
        assert label in (groups[0] if groups else BY_PROMETHEUS), expr


def test_refusals_for_want_of_something_are_those_that_the_services_know() -> None:
    """By their status, 429 or 503; the two others are of a pod that is new, and of one that goes."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py"))
    errors = re.findall(r'(?:Error|super\(\)\.__init__)\(\s*(?:429|503),\s*"(\w+)"', text)
    errors += re.findall(r'status=(?:429|503),\s*code="(\w+)"', text)
    assert set(errors) - {"not_ready", "shutting_down"} == set(FULL)
