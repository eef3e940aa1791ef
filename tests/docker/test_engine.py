"""The engine for tests: how it is started and ended, its version, and the plugins of its command line."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import SCRIPT
from tests.skipping import skip

pytestmark = pytest.mark.docker

ALONE = ("unshare", "--net")
"""Outside of the machine's network, where an engine that starts would take the rules of another one away."""


def _run(*command: str | Path, code: int = 0) -> str:
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)
    assert ended.returncode == code, ended.stderr
    return (ended.stdout if code == 0 else ended.stderr).strip()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, because sockets lie in it."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        skip("no Docker engine to start: it takes root, and as root `infra/engine/engine install`")
    with tempfile.TemporaryDirectory(prefix="mc-") as path:
        yield Path(path)
        _run(SCRIPT, "stop", path)


def test_the_engine_is_new_enough_and_its_command_line_has_compose(engine: str) -> None:
    version = _run("docker", "version", "--format", "{{.Server.Version}}")
    assert tuple(int(part) for part in version.split(".")[:2]) >= (20, 10)
    assert int(_run("docker", "compose", "version", "--short").lstrip("v").split(".")[0]) >= 2


def test_a_second_start_finds_the_first_and_a_stop_leaves_nothing_running(folder: Path) -> None:
    said = f"export DOCKER_HOST=unix://{folder}/docker.sock"
    assert _run(*ALONE, SCRIPT, "start", folder) == said
    pid = int((folder / "pid").read_text())
    assert _run(SCRIPT, "start", folder) == said
    assert int((folder / "pid").read_text()) == pid
    _run(SCRIPT, "stop", folder)
    _run(SCRIPT, "stop", folder)
    assert not Path(f"/proc/{pid}").exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


def test_an_engine_that_cannot_start_says_why(folder: Path) -> None:
    (folder / "data").write_text("no folder")
    said = _run(*ALONE, SCRIPT, "start", folder, code=1)
    assert f"points to a file '{folder}/data'" in said
    assert said.endswith(f"engine: the engine did not start; the whole log is {folder}/log")


def test_no_second_engine_starts_in_one_network(engine: str, folder: Path) -> None:
    assert engine
    said = _run(SCRIPT, "start", folder, code=1)
    assert re.sub(r"process \d+", "process N", said) == (
        "engine: an engine runs here already (process N); use that one, or put `unshare --net` before this"
    )


def test_an_unknown_verb_is_refused(folder: Path) -> None:
    assert _run(SCRIPT, "restart", folder, code=1) == "engine: say install, start or stop"
