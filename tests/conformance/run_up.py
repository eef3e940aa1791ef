"""`model-compose` as a process whose services are fakes, in either runtime: `RUNTIME IMAGE UNITS ARGUMENT...`.

IMAGE holds the fakes as containers; UNITS lists their knobs as JSON. With FAKE_CHECKS in its environment, the engine
checks containers often, and waits so many seconds for an answer.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import compose.commands.container_run
import compose.commands.up
import infra.docker.container
from compose.cli import cli
from compose.output import Console
from compose.plan import Plan, Step
from infra.docker.container import Container
from infra.folder import RunFolder
from infra.resources import Resources
from infra.unit import TcpAddress
from tests.infra.rig import fake_unit

RUNTIME, IMAGE, UNITS, *ARGUMENTS = sys.argv[1:]


def plan_for(_loaded: Any, _folder: RunFolder, sockets: Path, _console: Console) -> Plan:
    """In place of `execute.plan_for`."""
    units = []
    for knobs in json.loads(UNITS):
        port = knobs.pop("port", 0)
        unit = fake_unit(knobs.pop("name"), sockets, kind=knobs.pop("kind", "task"), **knobs)
        units.append(unit if unit.kind == "task" else replace(unit, address=TcpAddress("127.0.0.1", port)))
    steps = tuple(Step("start", unit.name, "a fake", "the test wants it") for unit in units)
    return Plan(tuple(units), steps, "http://127.0.0.1:8080/api", "http://127.0.0.1:8081", "digest")


def containers_of(_loaded: Any, images: Mapping[str, str]) -> tuple[Container, ...]:
    """In place of `containers.containers_of`."""
    return tuple(_container(knobs, images) for knobs in json.loads(UNITS))


def _container(knobs: dict[str, Any], images: Mapping[str, str]) -> Container:
    name, kind, port = knobs.pop("name"), knobs.pop("kind", "task"), knobs.pop("port", 0)
    resources = Resources(knobs.pop("cpu", None), knobs.pop("memory_bytes", None))
    environment = {"FAKE_IMPORT_S": str(knobs.pop("import_s", 0)), "FAKE_SETTINGS": json.dumps(knobs)}
    return Container(
        service=name,
        kind=kind,
        image=images[name],
        host_name=f"task-{name}" if kind == "task" else name,
        port=3000,
        health_path="/readyz",
        networks=("tasks",) if kind == "task" else ("front", "tasks"),
        command=("--host", "::", "--port", "3000"),
        environment=environment,
        published=None if kind == "task" else TcpAddress("127.0.0.1", port),
        volumes={"/var/lib/model-compose": "runs"} if kind == "router" else {},
        resources=resources,
        start_timeout_s=30,
        stop_timeout_s=5,
    )


def images_of(*_: Any) -> Mapping[str, str]:
    """In place of `container_run.images_of`."""
    return {knobs["name"]: IMAGE for knobs in json.loads(UNITS)}


if __name__ == "__main__":
    mock.patch.object(compose.commands.up, "plan_for", plan_for).start()
    mock.patch.object(compose.commands.container_run, "containers_of", containers_of).start()
    mock.patch.object(compose.commands.container_run, "images_of", images_of).start()
    if seconds := os.environ.get("FAKE_CHECKS"):
        mock.patch.object(infra.docker.container, "CHECK_INTERVAL_S", 1).start()
        mock.patch.object(infra.docker.container, "CHECK_TIMEOUT_S", int(seconds)).start()
    cli.main([*ARGUMENTS, "--runtime", RUNTIME] if ARGUMENTS[0] == "up" else ARGUMENTS)
