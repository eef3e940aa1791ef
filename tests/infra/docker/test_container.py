"""Containers as data: what the engine is asked for, and when two of them are the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.docker.container import Container, project_id
from infra.resources import Resources
from infra.unit import TcpAddress

pytestmark = pytest.mark.unit

TASK = Container(
    service="chat",
    kind="task",
    image="sha256:1",
    host_name="task-chat",
    port=3000,
    health_path="/readyz",
    networks=("tasks",),
    resources=Resources(cpu=1.5, memory_bytes=2**30, gpu_count=2),
)
ROUTER = Container(
    service="router",
    kind="router",
    image="sha256:2",
    host_name="router",
    port=8080,
    health_path="/livez",
    networks=("front", "tasks"),
    environment={"B": "2", "A": "1"},
    published=TcpAddress("127.0.0.1", 80),
    volumes={"/var/lib/model-compose": "runs"},
    stop_timeout_s=35,
)


def test_a_task_has_its_limits_no_port_and_no_rights() -> None:
    config = TASK.config("demo-1")
    labels = config.pop("Labels")
    assert config == {
        "Image": "sha256:1",
        "Hostname": "task-chat",
        "User": "10001:10001",
        "Env": [],
        "ExposedPorts": {"3000/tcp": {}},
        "StopSignal": "SIGTERM",
        "StopTimeout": 30,
        "Healthcheck": {
            "Test": ["CMD", "python3", "-P", "-S", "-m", "services.healthcheck", "3000", "/readyz"],
            "Interval": 10 * 10**9,
            "Timeout": 20 * 10**9,
            "Retries": 3,
            "StartPeriod": 600 * 10**9,
        },
        "HostConfig": {
            "Init": True,
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=512m,mode=1777"},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "NanoCpus": 1_500_000_000,
            "Memory": 2**30,
            "MemorySwap": 2**30,
            "PidsLimit": 2048,
            "DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}],
            "PortBindings": {},
            "Mounts": [],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "RestartPolicy": {"Name": "no"},
            "Dns": ["127.0.0.1"],
            "NetworkMode": "demo-1-tasks",
        },
        "NetworkingConfig": {"EndpointsConfig": {"demo-1-tasks": {"Aliases": ["task-chat"]}}},
    }
    assert labels == {
        "model-compose.project": "demo-1",
        "model-compose.service": "chat",
        "model-compose.kind": "task",
        "model-compose.digest": TASK.digest("demo-1"),
    }


def test_a_router_has_a_port_a_volume_and_its_variables() -> None:
    config = ROUTER.config("demo-1")
    host = config["HostConfig"]
    assert config["Env"] == ["A=1", "B=2"]
    assert config["StopTimeout"] == 35
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]}
    assert host["Mounts"] == [{"Type": "volume", "Source": "demo-1-runs", "Target": "/var/lib/model-compose"}]
    assert (host["NanoCpus"], host["Memory"], host["DeviceRequests"], host["Dns"]) == (0, 0, [], [])
    assert ROUTER.name("demo-1") == "demo-1-router"


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "sha256:3"},
        {"environment": {"A": "1"}},
        {"published": TcpAddress("127.0.0.1", 81)},
        {"resources": Resources(cpu=1)},
        {"volumes": {}},
        {"stop_timeout_s": 36},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_a_container_changes_its_digest(changes: dict[str, object]) -> None:
    assert replace(ROUTER, **changes).digest("demo-1") != ROUTER.digest("demo-1")  # type: ignore[arg-type]  # any field
    assert replace(ROUTER).digest("demo-1") == ROUTER.digest("demo-1")


@pytest.mark.parametrize(
    ("folder", "slug"),
    [
        ("/home/a/Quick_Start", "quick-start"),
        ("/home/a/ünï", "n"),
        ("/", "model-compose"),
        ("/x/" + "long-" * 20, "long-long-long-long-long"),
    ],
)
def test_a_project_is_called_like_its_folder_and_like_no_other(folder: str, slug: str) -> None:
    name = project_id(Path(folder))
    assert name.rpartition("-")[0] == slug
    assert name != project_id(Path(folder) / ".." / "other" / Path(folder).name)


def test_a_folder_has_one_name_by_whatever_path_it_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    assert project_id(tmp_path / "link") == project_id(folder / ".." / "demo") == project_id(folder)
