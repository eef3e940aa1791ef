"""`model-compose` as a process whose plan consists of fake units; its first argument lists their knobs as JSON."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import compose.commands.up
from compose.cli import cli
from compose.output import Console
from compose.plan import Plan, Step
from infra.folder import RunFolder
from infra.unit import TcpAddress
from tests.infra.rig import fake_unit


def plan_for(_loaded: Any, _folder: RunFolder, sockets: Path, _console: Console) -> Plan:
    """In place of `execute.plan_for`: no model is looked for."""
    units = []
    for knobs in json.loads(sys.argv[1]):
        port = knobs.pop("port", 0)
        unit = fake_unit(knobs.pop("name"), sockets, kind=knobs.pop("kind", "task"), **knobs)
        units.append(unit if unit.kind == "task" else replace(unit, address=TcpAddress("127.0.0.1", port)))
    steps = tuple(Step("start", unit.name, "a fake", "the test wants it") for unit in units)
    return Plan(tuple(units), steps, "http://127.0.0.1:8080/api", "http://127.0.0.1:8081", "digest")


if __name__ == "__main__":
    mock.patch.object(compose.commands.up, "plan_for", plan_for).start()
    cli.main(sys.argv[2:])
