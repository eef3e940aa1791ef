"""Whatever is wrong with the engine, each command that needs it says so in its own sentence and with what to do."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.weights import Resolved
from compose.cli import cli
from infra.net import make_socket_directory
from tests.compose.test_build import FILE, Builder
from tests.infra.docker.test_engine import Answers, FakeEngine

pytestmark = pytest.mark.server

OLD: Answers = {"/version": (200, {"ApiVersion": "1.39", "Version": "18.09.9"})}
FULL: Answers = {
    "/version": (200, {"ApiVersion": "1.41", "Version": "20.10.24", "Os": "linux", "Arch": "amd64"}),
    "/info": (200, {"DockerRootDir": "/nowhere"}),
    "/images/json": (200, []),
    "/images/load": (200, {"error": "write /blob: no space left on device"}),
}
COMMANDS = {
    "build": ("build", "--output", "docker", "--no-verify"),
    "up": ("up", "--runtime", "docker"),
    "down": ("down",),
}
START = "start it with `sudo systemctl start docker` or Docker Desktop"
REMEDIES = {
    "absent": "install Docker, or let DOCKER_HOST name an engine",
    "stopped": START,
    "dead": START,
    "old": "update Docker",
    "forbidden": "join its group with `sudo usermod --append --groups docker $USER` and log in again",
}
SENTENCES = {
    "absent": "there is no Docker engine: nothing is at {address}",
    "stopped": "the Docker engine is not running: nobody answers at {address}",
    "dead": "the Docker engine is not running: nobody answers at {address}",
    "old": "the Docker engine is too old: it is 18.09.9, and 20.10 or newer is needed",
    "forbidden": "you may not use the Docker engine at {address}: permission denied",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """For sockets, whose paths must be short."""
    made = make_socket_directory()
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that had containers, and a builder that makes nothing."""
    (tmp_path / "model-compose.yml").write_text(FILE, encoding="utf-8")
    (tmp_path / ".model-compose").mkdir()
    (tmp_path / ".model-compose" / "containers").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("compose.commands.build.build_images", Builder())
    monkeypatch.setattr("compose.commands.build.find", lambda *_: Resolved(tmp_path, None, {}))
    return tmp_path


@pytest.fixture
def engine(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Makes DOCKER_HOST name an engine with this fault; its address."""
    running: list[FakeEngine] = []

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    def make(fault: str) -> str:
        path = place / "engine.sock"
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        monkeypatch.setattr("shutil.which", lambda _: None if fault == "absent" else "/usr/bin/docker")
        if fault == "dead":
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))
        if fault in ("old", "full"):
            running.append(FakeEngine(path, OLD if fault == "old" else FULL))
            threading.Thread(target=running[0].serve_forever, args=(0.01,), daemon=True).start()
        if fault == "forbidden":
            path.touch()
            monkeypatch.setattr("socket.socket.connect", forbid)
        return f"unix://{path}"

    yield make
    for each in running:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", SENTENCES)
def test_an_engine_that_cannot_be_used_is_said(
    project: Path, engine: Callable[[str], str], command: str, fault: str
) -> None:
    address = engine(fault)
    ended = CliRunner().invoke(cli, COMMANDS[command])
    other = ", or use `--runtime process`" if command == "up" else ""
    assert (ended.exit_code, ended.stderr.splitlines()[-2:]) == (
        4,
        [f"error: {SENTENCES[fault].format(address=address)}", f"hint: {REMEDIES[fault]}{other}"],
    )


@pytest.mark.parametrize("fault", SENTENCES)
def test_what_runs_is_told_without_an_engine(project: Path, engine: Callable[[str], str], fault: str) -> None:
    engine(fault)
    assert CliRunner().invoke(cli, ["ps"]).exit_code == 5


def test_an_engine_whose_disk_is_full_is_said(project: Path, engine: Callable[[str], str]) -> None:
    engine("full")
    ended = CliRunner().invoke(cli, COMMANDS["build"])
    assert (ended.exit_code, ended.stderr.splitlines()[-2:]) == (
        4,
        [
            "error: the Docker engine's disk is full, so it could not load an image",
            "hint: `docker system df` shows what fills it, and `docker image prune` removes images that nothing uses",
        ],
    )
