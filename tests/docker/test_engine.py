"""The engine for tests: its version, the plugins of its command line, and how often it may be started."""

import subprocess

import pytest

pytestmark = pytest.mark.docker


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_the_engine_is_new_enough_and_its_command_line_has_compose(engine: str) -> None:
    version = _run("docker", "version", "--format", "{{.Server.Version}}")
    assert tuple(int(part) for part in version.split(".")[:2]) >= (20, 10)
    assert int(_run("docker", "compose", "version", "--short").lstrip("v").split(".")[0]) >= 2
