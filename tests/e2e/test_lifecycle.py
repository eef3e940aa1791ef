"""`up`, `ps`, `logs`, `down` and the ways in which a start can fail, with the real services."""

import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.project import Project, family, gone, interrupt

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

TOY = ROOT / "examples" / "quickstart" / "model"


@pytest.fixture
def toy(project: Project) -> Project:
    """A project over the bundled model, with a page."""
    component = f"component: {{id: toy, type: model, task: chat-completion, model: {TOY}}}\n"
    project.write(project.with_controller(component, page=True))
    return project


def test_up_ps_logs_run_and_down(toy: Project) -> None:
    assert toy.command("ps").returncode == 5
    with toy.running():
        listed = json.loads(toy.command("ps", "--json").stdout)
        services = listed["services"] if isinstance(listed, dict) else listed
        assert {service["name"]: service["state"] for service in services} == {
            "toy": "ready",
            "router": "ready",
            "page": "ready",
        }
        assert toy.get("/api/ready").body == {"status": "ready", "components": {"toy": {"stage": "ready"}}}
        again = toy.command("up")
        assert again.returncode == 4
        assert "already running since" in again.stderr
        assert "loaded in" in toy.command("logs", "toy").stdout
        ran = toy.command("run", "--input", '{"user_prompt": "Who are you?"}')
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "toy model" in ran.stdout
        (run_id,) = (run["task_id"] for run in toy.get("/api/tasks").body)
        found = [line for line in toy.command("logs").stdout.splitlines() if run_id in line]
        assert sorted(line.partition(" ")[0] for line in found) == ["router", "toy"]  # one search follows a run
        assert len({line.partition(" request_id=")[2].partition(" ")[0] for line in found}) == 1
    assert toy.command("ps").returncode == 5
    assert not (toy.folder / ".model-compose" / "state.json").exists()


def test_one_service_is_stopped_started_and_restarted_while_the_others_run(running_toy: Project) -> None:
    def pids() -> dict[str, int | None]:
        services = json.loads(running_toy.command("ps", "--json").stdout)["services"]
        return {service["name"]: service["pid"] for service in services}

    before = pids()
    assert running_toy.command("stop", "toy").returncode == 0
    refused = running_toy.run({"user_prompt": "Hello!"})
    assert refused.status == 503
    assert refused.body["error"]["message"] == 'The service "toy" is not ready: it was stopped.'
    assert running_toy.get("/api/ready").body["components"] == {"toy": {"stage": "absent", "message": "it was stopped"}}
    assert running_toy.command("start", "toy").returncode == 0
    assert running_toy.run({"user_prompt": "Hello!"}).status == 200
    assert running_toy.command("restart", "router").returncode == 0
    assert running_toy.run({"user_prompt": "Hello!"}).status == 200
    after = pids()
    assert [name for name in after if after[name] == before[name]] == ["page"]


def test_ctrl_c_finishes_what_was_accepted(toy: Project) -> None:
    process = toy.start()
    wait_until_ready(toy)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(toy.run({"user_prompt": "Tell me a story."}))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: running_count(toy) == 3)
    assert interrupt(process) == 0
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    "moments", [10, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(900)])], ids=["small", "full"]
)
def test_kill_9_leaves_no_process(toy: Project, moments: int) -> None:
    """Random moments from the first process to past readiness; the next start then works."""
    pick = random.Random(5)
    for _ in range(moments):
        process = toy.start()
        time.sleep(pick.uniform(0.05, 4))
        processes = family(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(processes, timeout_s=2), [process for process in processes if process.is_running()]
    with toy.running():
        assert toy.run({"user_prompt": "Hello!"}).status == 200


def test_a_taken_port_names_its_owner_and_a_free_one(toy: Project) -> None:
    with socket.create_server(("127.0.0.1", toy.port)):
        started = toy.command("up")
    assert started.returncode == 4
    assert f"port {toy.port}" in started.stderr.lower()
    assert str(os.getpid()) in started.stderr


def test_a_folder_without_a_file_points_to_init(project: Project) -> None:
    started = project.command("up")
    assert started.returncode == 3
    assert "model-compose init" in started.stderr


def test_a_bad_run_is_one_sentence(running_toy: Project) -> None:
    bad: list[tuple[dict[str, str], dict[str, str], int, str]] = [
        ({}, {}, 422, "missing_input"),
        ({"user_prompt": "Hello " * 2000}, {}, 422, "prompt_too_long"),
        ({"user_prompt": "Hello"}, {"workflow_id": "nope"}, 404, "unknown_workflow"),
    ]
    for values, more, status, code in bad:
        answer = running_toy.run(values, **more)
        assert (answer.status, answer.body["error"]["code"]) == (status, code)
        assert answer.body["error"]["message"]


@pytest.fixture
def running_toy(toy: Project) -> Iterator[Project]:
    with toy.running():
        yield toy


def running_count(project: Project) -> int:
    listed = project.get("/api/tasks").body
    tasks = listed["tasks"] if isinstance(listed, dict) else listed
    return sum(task["status"] in ("pending", "processing", "streaming") for task in tasks)


def wait_until_ready(project: Project) -> None:
    def ready() -> bool:
        try:
            return project.get("/api/ready").status == 200
        except OSError:
            return False

    wait_for(ready)


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
