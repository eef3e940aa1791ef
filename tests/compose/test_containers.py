import json
from pathlib import Path

import pytest

from builders.container import VARIABLES
from compose.containers import containers_of, limits_of
from infra.docker.container import Container
from infra.resources import Resources
from infra.unit import TcpAddress
from tests.compose.loading import load, plan

pytestmark = pytest.mark.unit

FILE = """
controller:
  port: 9000
  webui: {port: 9001}
  auth: {token: "${env.API_TOKEN}"}
  shutdown_timeout: 10
  runtime: {type: docker, start_timeout: 2m, environment: {LOG: "1", DO_NOT_TRACK: "0"}}
component:
  id: writer
  type: model
  task: text-generation
  model: ./model
  resources: {cpu: 500m, memory: 2Gi, gpu: "H100:1"}
  runtime: {stop_timeout: 5, environment: {LOG: "2"}}
"""


def test_a_container_for_each_service(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE, API_TOKEN="token-sentinel")
    assert containers_of(loaded, {"writer": "sha256:1", "router": "sha256:2", "page": "sha256:3"}) == (
        Container(
            service="writer",
            kind="task",
            image="sha256:1",
            host_name="task-writer",
            port=3000,
            health_path="/readyz",
            networks=("tasks",),
            environment={"LOG": "2"},
            resources=Resources(0.5, 2 * 2**30, 1, "H100"),
            start_timeout_s=120,
            stop_timeout_s=5,
        ),
        Container(
            service="router",
            kind="router",
            image="sha256:2",
            host_name="router",
            port=8080,
            health_path="/livez",
            networks=("front", "tasks"),
            environment={"LOG": "1", "API_TOKEN": "token-sentinel"},
            published=TcpAddress("127.0.0.1", 9000),
            volumes={"/var/lib/model-compose": "runs"},
            start_timeout_s=120,
            stop_timeout_s=15,
        ),
        Container(
            service="page",
            kind="page",
            image="sha256:3",
            host_name="page",
            port=8081,
            health_path="/livez",
            networks=("front",),
            environment={"LOG": "1", "API_TOKEN": "token-sentinel"},
            published=TcpAddress("127.0.0.1", 9001),
            start_timeout_s=120,
            stop_timeout_s=30,
        ),
    )


def test_no_file_takes_the_walls_of_a_container_down(tmp_path: Path) -> None:
    given = dict.fromkeys((*VARIABLES, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "LOG"), "0")
    loaded = load(
        tmp_path,
        f"""
        component: {{type: model, task: text-generation, model: a/b, runtime: {{environment: {json.dumps(given)}}}}}
        """,
    )
    task = containers_of(loaded, {"text-generation": "1", "router": "2", "page": "3"})[0]
    assert task.environment == {"LOG": "0"}
    process = plan(loaded).units[0].environment
    assert (process["HF_HUB_OFFLINE"], process["HF_TOKEN"], process.keys() & {"PATH", "PYTHONPATH", "HOME"}) == (
        "1",
        "",
        set(),
    )


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("device: auto", 0),
        ("device: cuda", 1),
        ("device: cuda:1", 2),
        ("device: cuda, resources: {gpu: 4}", 4),
        ("resources: {gpu: 1}", 1),
    ],
)
def test_a_container_gets_the_gpus_that_its_device_needs(tmp_path: Path, written: str, count: int) -> None:
    loaded = load(tmp_path, f"component: {{type: model, task: text-generation, model: a/b, {written}}}")
    assert limits_of(loaded.spec.models[0]).gpu_count == count
