"""Containers that hang, starve or take too much memory, and an engine that goes away, while a run goes on."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.docker.container import project_id
from infra.docker.engine import Engine
from infra.probe import LIFE_MISSES
from tests.conformance.folder import ROUTER, Folder, wait_until
from tests.docker.engine import SCRIPT
from tests.docker.fake_image import remove_volumes
from tests.skipping import skip

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

STOP_OTHERS = """
import os, signal
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    if pid not in (1, os.getpid()):
        os.kill(pid, signal.SIGSTOP)
"""
AWAY = "the Docker engine is not running: nobody answers at "
ASK = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000{}', timeout={})"


@pytest.fixture
def folder(docker: Engine, fake_image: str, tmp_path: Path) -> Iterator[Folder]:
    with contextlib.ExitStack() as stack:
        made = Folder(tmp_path / "project", "docker", fake_image, stack)
        stack.callback(remove_volumes, docker, made.path)
        yield made


def inspect(docker: Engine, folder: Folder, service: str) -> dict[str, Any]:
    """The container of a service, as the engine sees it."""
    found = next(each for each in docker.containers(project_id(folder.path)) if each.service == service)
    inspected: dict[str, Any] = docker.client.inspect_container(found.id)
    return inspected


def execute(docker: Engine, folder: Folder, service: str, program: str) -> None:
    """Run a program in a service's container, however it ends."""
    command = ["docker", "exec", inspect(docker, folder, service)["Id"], "python3", "-S", "-c", program]
    subprocess.run(command, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "checks",
    ["3", pytest.param("", marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
    ids=["small", "full"],
)
def test_what_hangs_or_takes_too_much_is_started_again_and_what_starves_is_not(
    docker: Engine, folder: Folder, checks: str
) -> None:
    hungry = {"name": "hungry", "memory_bytes": 64 * 2**20}
    starved = {"name": "starved", "cpu": 0.05}
    folder.up({"name": "hung"}, hungry, starved, ROUTER, FAKE_CHECKS=checks).settled()
    before = folder.services()
    execute(docker, folder, "starved", ASK.format("/toil", 30))
    execute(docker, folder, "hung", STOP_OTHERS)
    execute(docker, folder, "hungry", ASK.format("/eat", 30))

    def healed() -> bool:
        services = folder.services()
        return all(
            services[name]["restarts"] == 1 and services[name]["state"] == "ready" for name in ("hung", "hungry")
        )

    wait_until(healed, timeout_s=150)

    def health() -> dict[str, Any]:
        checked: dict[str, Any] = inspect(docker, folder, "starved")["State"]["Health"]
        return checked

    wait_until(lambda: health()["FailingStreak"] >= LIFE_MISSES, timeout_s=150)
    last = health()["Log"][-1]["End"]
    wait_until(lambda: health()["Log"][-1]["End"] != last)  # one more check, so that `up` has seen the misses
    after = folder.services()
    assert {name: (after[name]["restarts"], after[name]["state"]) for name in ("starved", "router")} == {
        "starved": (0, "ready"),
        "router": (0, "ready"),
    }
    assert after["starved"]["pid"] == before["starved"]["pid"]
    assert folder.command("logs", "hungry")[1] == (
        "[model-compose] hungry was killed by the system, most likely because memory ran out: it may use no more than"
        " its `resources.memory`; starting it again in 0.25 s\n"
    )
    assert folder.command("logs", "hung")[1] == (
        "[model-compose] hung answered nobody any more and was ended; starting it again in 0.25 s\n"
    )


@pytest.fixture
def own_engine(engine: str, fake_image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Starts and stops an engine of its own, outside of this machine's network, which has the image of the fakes."""
    if not engine.startswith("unix:") or os.geteuid() != 0:
        skip("an engine of its own takes root")

    def run(verb: str) -> str:
        alone = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-")
        command: list[str | Path] = [*alone, SCRIPT, verb, place]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=90).stdout

    with tempfile.TemporaryDirectory(prefix="mc-") as place:
        monkeypatch.setenv("DOCKER_HOST", run("start").strip().partition("=")[2])
        saved = subprocess.Popen(["docker", "--host", engine, "save", fake_image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "load"], stdin=saved.stdout, check=True, capture_output=True, timeout=90)
        saved.communicate()
        try:
            yield run
        finally:
            run("stop")


@pytest.mark.parametrize("away_s", [5, pytest.param(30, marks=pytest.mark.soak)], ids=["small", "full"])
def test_a_run_outlives_its_engine_and_follows_its_containers_again(
    own_engine: Callable[[str], str], fake_image: str, tmp_path: Path, away_s: int
) -> None:
    with contextlib.ExitStack() as stack:
        folder = Folder(tmp_path / "project", "docker", fake_image, stack)
        up = folder.up({"name": "chat", "print": ["one"]}, ROUTER).settled()
        assert {each["state"] for each in folder.services().values()} == {"ready"}
        own_engine("stop")
        wait_until(lambda: AWAY in folder.command("logs", "chat")[1])
        time.sleep(away_s)  # what is tested: nothing is given up meanwhile
        assert up.process.poll() is None, up.end()
        own_engine("start")
        wait_until(lambda: {each["state"] for each in folder.services().values()} == {"ready"})
        said = folder.command("logs", "chat")[1].splitlines()
        assert [line for line in said if AWAY in line or "[" not in line] == [
            "one",
            f"[model-compose] {AWAY}of docker; chat is started once that is over",
            "one",
        ]
        assert folder.command("down")[:2] == (0, "stopped chat and router in N s\n")
        assert up.end()[0] == 0
        listed = subprocess.run(["docker", "ps", "--all", "--quiet"], check=True, capture_output=True, timeout=60)
        assert listed.stdout == b""
