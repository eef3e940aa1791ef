"""Containers of a project in a real engine: what they may do, what a second `up` changes, what a killed one leaves."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.docker.container import project_id
from infra.docker.engine import PROJECT_LABEL, Engine
from tests.conformance.folder import CHAT, ROUTER, Folder, wait_until
from tests.docker.fake_image import remove_volumes
from tests.net import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

ENDED_BY_ANOTHER = "another `up` has taken over\n"
CONNECT = "import socket; socket.create_connection({}, 3)"
LOOK_UP = "import os; os.environ['RES_OPTIONS'] = 'timeout:1 attempts:1'; import socket; socket.gethostbyname('{}')"
REACHED = """
import json, socket
reached = []
for name, address in {}.items():
    try:
        socket.create_connection(address, 1)
        reached.append(name)
    except OSError:
        pass
print(json.dumps(reached))
"""


@pytest.fixture
def folder(docker: Engine, fake_image: str, tmp_path: Path) -> Iterator[Folder]:
    with contextlib.ExitStack() as stack:
        made = Folder(tmp_path / "project", "docker", fake_image, stack)
        stack.callback(remove_volumes, docker, made.path)
        yield made


def containers(docker: Engine, folder: Folder) -> dict[str, str]:
    """The id of each service's container."""
    return {found.service: found.id for found in docker.containers(project_id(folder.path))}


def networks(docker: Engine, folder: Folder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = docker.client.networks(
        filters={"label": f"{PROJECT_LABEL}={project_id(folder.path)}"}
    )
    return found


def until_there(docker: Engine, folder: Folder, count: int) -> None:
    wait_until(lambda: len(containers(docker, folder)) >= count)


def python(container: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program inside a container."""
    return subprocess.run(
        ["docker", "exec", container, "python3", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_containers_have_no_rights(docker: Engine, folder: Folder) -> None:
    port = free_port()
    folder.up(CHAT, {**ROUTER, "port": port}).settled()
    found = containers(docker, folder)
    for service, container in found.items():
        inspected = docker.client.inspect_container(container)
        host = inspected["HostConfig"]
        assert inspected["Config"]["User"] == "10001:10001"
        assert (host["Init"], host["ReadonlyRootfs"], host["Privileged"]) == (True, True, False)
        assert (host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == (["ALL"], None, ["no-new-privileges"])
        assert list(host["Tmpfs"]) == ["/tmp"]
        published = [each for bindings in (host["PortBindings"] or {}).values() for each in bindings]
        assert published == ([] if service == "chat" else [{"HostIp": "127.0.0.1", "HostPort": str(port)}])
        assert "Read-only file system" in python(container, "open('/x', 'w')").stderr
        status = python(container, "print(open('/proc/self/status').read())").stdout
        assert "CapEff:\t0000000000000000\n" in status
        assert "NoNewPrivs:\t1\n" in status
    assert {network["Name"].rpartition("-")[2]: network["Internal"] for network in networks(docker, folder)} == {
        "tasks": True,
        "front": False,
    }
    ask = "import urllib.request as u; print(u.urlopen('http://task-chat:3000/readyz').status)"
    assert python(found["router"], ask).stdout == "200\n"
    assert python(found["router"], "open('/var/lib/model-compose/runs.db', 'w')").returncode == 0


def test_a_task_reaches_its_network_and_nothing_else(docker: Engine, folder: Folder) -> None:
    folder.up(CHAT, ROUTER).settled()
    found = containers(docker, folder)
    of_router = docker.client.inspect_container(found["router"])["NetworkSettings"]["Networks"]
    tasks, front = (of_router[f"{project_id(folder.path)}-{name}"] for name in ("tasks", "front"))
    with socket.create_server((front["Gateway"], 0)) as machine:
        address = machine.getsockname()
        outside = {
            "the other network": (front["IPAddress"], 3000),
            "the engine's machine": address,
            "its address in this network": (
                tasks["Gateway"] or tasks["IPAddress"].rpartition(".")[0] + ".1",
                address[1],
            ),
            "the world": ("192.0.2.1", 80),
        }
        task, router = (json.loads(python(found[name], REACHED.format(outside)).stdout) for name in ("chat", "router"))
    assert task == []
    assert router == ["the other network", "the engine's machine"]
    assert python(found["chat"], CONNECT.format((tasks["IPAddress"], 3000))).returncode == 0
    assert docker.client.inspect_container(found["chat"])["HostConfig"]["Dns"] == ["127.0.0.1"]
    assert python(found["chat"], LOOK_UP.format("router")).returncode == 0
    assert "gaierror" in python(found["chat"], LOOK_UP.format("example.com")).stderr


def test_a_second_up_changes_only_what_changed(docker: Engine, folder: Folder) -> None:
    router = {**ROUTER, "port": free_port()}
    first = folder.up(CHAT, {"name": "other"}, router).settled()
    before = containers(docker, folder)
    second = folder.up({**CHAT, "print": ["changed"]}, router)
    code, _, err = first.end()
    assert (code, err.splitlines(keepends=True)[-1]) == (0, ENDED_BY_ANOTHER)
    second.settled()
    after = containers(docker, folder)
    assert after.keys() == {"chat", "router"}
    assert after["chat"] != before["chat"]
    assert after["router"] == before["router"]
    assert folder.command("ps")[0] == 0
    code, _, err = second.interrupt().end()
    steps = [[*line.split("  ")[:2], line.rpartition("  ")[2]] for line in err.splitlines()[:3]]
    assert (code, steps) == (
        0,
        [
            ["remove", "other", "(no longer in the file)"],
            ["replace", "chat", "(its image or its settings changed)"],
            ["keep", "router", "(runs as the file says)"],
        ],
    )
    assert containers(docker, folder) == {}
    assert networks(docker, folder) == []


def test_containers_of_a_killed_up_go_on_and_the_next_one_takes_them_over(docker: Engine, folder: Folder) -> None:
    units = ({**CHAT, "print": ["one"]}, {**ROUTER, "port": free_port()})
    first = folder.up(*units).settled()
    before = containers(docker, folder)
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()
    assert folder.command("ps") == (
        5,
        "",
        f"error: nobody looks after the containers of {folder.path}, since the last run was killed\n"
        "hint: `model-compose up` takes them over, `model-compose down` removes them\n",
    )
    assert containers(docker, folder) == before
    second = folder.up(*units).settled()
    assert containers(docker, folder) == before
    assert folder.command("logs", "chat") == (0, "one\n", "")
    assert folder.command("restart", "chat")[:2] == (0, "restarted chat in N s\n")
    assert folder.command("logs", "chat") == (0, "one\none\n", "")
    assert second.interrupt().end()[0] == 0
    assert containers(docker, folder) == {}


@pytest.mark.parametrize(
    "moments", [4, pytest.param(30, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])], ids=["small", "full"]
)
def test_down_clears_away_what_an_up_left_that_was_killed_at_any_moment(
    docker: Engine, folder: Folder, moments: int
) -> None:
    pick = random.Random(5)
    for moment in range(moments):
        up = folder.up(CHAT, ROUTER)
        until_there(docker, folder, moment % 3)
        time.sleep(pick.uniform(0, 1))
        up.process.kill()
        up.process.communicate()
        assert folder.command("down")[0] == 0
        assert (containers(docker, folder), networks(docker, folder)) == ({}, [])


def test_down_stops_an_up_that_is_just_making_its_containers(docker: Engine, folder: Folder) -> None:
    up = folder.up(CHAT, ROUTER)
    wait_until((folder.path / ".model-compose" / "containers").exists)
    assert folder.command("down")[:2] == (0, "stopped chat and router in N s\n")
    assert up.end()[0] == 0
    assert (containers(docker, folder), networks(docker, folder)) == ({}, [])


def test_down_touches_nothing_of_another_project(
    docker: Engine, folder: Folder, fake_image: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        neighbour = Folder(tmp_path / "neighbour", "docker", fake_image, stack)
        stack.callback(remove_volumes, docker, neighbour.path)
        neighbour.up(CHAT, ROUTER).settled()
        before = containers(docker, neighbour)
        folder.up(CHAT, ROUTER).settled()
        assert folder.command("down")[0] == 0
        assert containers(docker, neighbour) == before
        assert neighbour.services()["chat"]["state"] == "ready"


def test_a_container_that_somebody_removes_is_made_again(docker: Engine, folder: Folder) -> None:
    folder.up(CHAT, ROUTER).settled()
    docker.remove(containers(docker, folder)["chat"])
    wait_until(lambda: folder.services()["chat"]["restarts"] == 1)
    wait_until(lambda: folder.services()["chat"]["state"] == "ready")
    assert json.loads(folder.state.read_text())["runtime"] == "docker"
