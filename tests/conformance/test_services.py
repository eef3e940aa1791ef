"""What a user sees of services is the same wherever they run."""

import json
import os
import re
import signal
import socket

import pytest

from tests.conformance.folder import CHAT, PAGE, ROUTER, TOO_BIG, Folder, wait_until
from tests.net import free_port

pytestmark = pytest.mark.timeout(180)

WORKFLOWS = [
    {
        "workflow_id": "w",
        "input": [{"name": "tone", "type": "text"}, {"name": "question", "type": "text", "required": True}],
    }
]


def test_up_shows_a_table_and_a_line_to_copy_and_ends_clean_on_an_interrupt(folder: Folder) -> None:
    router = {**ROUTER, "answers": {"/api/workflows?include_schema=true": WORKFLOWS}}
    code, out, err = folder.up(CHAT, router, PAGE).settled().interrupt().end()
    assert (code, out) == (
        0,
        "SERVICE  STATE  MEMORY  ADDRESS\n"
        "chat  ready  N MB  -\n"
        "router  ready  N MB  http://127.0.0.1:8080/api\n"
        "page  ready  N MB  http://127.0.0.1:8081\n"
        "\n"
        "try it:\n"
        '  model-compose run --input \'{"question": "Hello"}\'\n',
    )
    told = [line for line in err.splitlines() if not line.startswith("start ")]
    assert sorted(told) == sorted(
        [f"{name}: {word}" for name in ("chat", "router", "page") for word in ("starting", "ready")]
        + ["stopping; Ctrl-C again hurries", "stopped"]
    )
    assert not folder.state.exists()


def test_what_services_print_is_shown_with_their_names_kept_and_followed(folder: Folder) -> None:
    up = folder.up({**CHAT, "print": ["one", "two"]}, {**ROUTER, "print": ["listening"]}).settled()
    wait_until(lambda: len(folder.command("logs")[1].splitlines()) == 3)
    code, out, err = folder.command("logs")
    assert (code, sorted(out.splitlines()), err) == (0, ["chat  | one", "chat  | two", "router | listening"], "")
    assert folder.command("logs", "chat", "--tail", "1") == (0, "two\n", "")
    with folder.follow("chat") as follower:
        assert follower.stdout is not None
        assert [follower.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        up.interrupt()
        _, shown, _ = up.end()
        assert follower.wait(30) == 0
    assert sorted(line for line in shown.splitlines() if " | " in line) == sorted(out.splitlines())
    assert folder.command("logs", "chat", "--tail", "1") == (0, "two\n", "")


def test_ps_tells_states_processes_memory_and_restarts(folder: Folder) -> None:
    folder.up(CHAT, ROUTER).settled()
    code, out, err = folder.command("ps")
    assert (code, err) == (0, "")
    assert re.sub(r"ready  \d+", "ready  PID", out) == (
        "SERVICE  STATE  PID  MEMORY  ADDRESS  RESTARTS\n"
        "chat  ready  PID  N MB  of chat  0\n"
        "router  ready  PID  N MB  http://127.0.0.1:8080/api  0\n"
    )
    chat = folder.services()["chat"]
    assert chat["memory_bytes"] > 1_000_000
    os.kill(chat["pid"], 0)


def test_a_service_that_cannot_work_says_why_and_the_others_go_on(folder: Folder) -> None:
    up = folder.up(CHAT, TOO_BIG, ROUTER).settled()
    code, out, err = folder.command("ps")
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == "big  failed  -  -  of big  0  The model needs 9 GB, and there are 2 GB."
    assert out.splitlines()[-3:] == [
        "the last lines of big:",
        "  loading",
        "  The model needs 9 GB, and there are 2 GB.",
    ]
    code, out, err = up.interrupt().end()
    assert code == 3
    assert "big  failed  -  -\n" in out
    assert "error: big: The model needs 9 GB, and there are 2 GB.\n  loading\n" in err


def test_where_no_task_can_work_up_stops_the_rest_and_fails(folder: Folder) -> None:
    code, out, err = folder.up(TOO_BIG, ROUTER).end()
    assert code == 3
    assert "SERVICE" not in out
    assert "error: big: The model needs 9 GB, and there are 2 GB." in err
    assert not folder.state.exists()


def test_a_killed_service_is_started_again(folder: Folder) -> None:
    folder.up(CHAT, ROUTER).settled()
    before = folder.services()
    os.kill(before["chat"]["pid"], signal.SIGKILL)
    wait_until(lambda: folder.services()["chat"]["restarts"] == 1)
    wait_until(lambda: folder.services()["chat"]["state"] == "ready")
    after = folder.services()
    assert after["chat"]["pid"] != before["chat"]["pid"]
    assert after["router"]["pid"] == before["router"]["pid"]
    ended = "was killed by the system, most likely because memory ran out"
    if folder.runtime == "docker":  # where the engine knows better
        ended = "was ended by SIGKILL"
    assert folder.command("logs", "chat")[1] == f"[model-compose] chat {ended}; starting it again in 0.25 s\n"


def test_a_service_that_ends_again_and_again_is_given_up(folder: Folder) -> None:
    folder.up(CHAT, {"name": "broken", "exit": 3, "print": ["no"]}, ROUTER).settled()
    broken = folder.services()["broken"]
    assert (broken["state"], broken["last_error"], broken["restarts"]) == (
        "failed",
        "broken ended with exit status 3, 5 times in a row",
        4,
    )
    assert broken["last_lines"] == ["no"] * 5


def test_services_are_stopped_started_and_restarted_one_by_one_or_all(folder: Folder) -> None:
    up = folder.up(CHAT, ROUTER).settled()
    before = folder.services()
    assert folder.command("stop", "chat")[:2] == (0, "stopped chat in N s\n")
    wait_until(lambda: folder.services()["chat"]["state"] == "stopped")
    with pytest.raises(ProcessLookupError):
        os.kill(before["chat"]["pid"], 0)
    assert folder.command("stop", "chat")[:2] == (0, "chat is stopped already\n")
    assert folder.command("start")[:2] == (0, "started chat in N s\nrouter runs already\n")
    assert folder.command("restart")[:2] == (0, "restarted chat and router in N s\n")
    wait_until(lambda: {service["state"] for service in folder.services().values()} == {"ready"})
    after = folder.services()
    assert {name: service["address"] for name, service in after.items()} == {
        name: service["address"] for name, service in before.items()
    }
    assert after["router"]["pid"] != before["router"]["pid"]
    assert folder.command("stop")[:2] == (0, "stopped chat and router in N s\n")
    assert up.process.poll() is None
    assert up.interrupt().end()[0] == 0


def test_a_start_that_takes_too_long_is_ended(folder: Folder) -> None:
    slow = {**CHAT, "unready": [{"stage": "loading"}] * 1_000}
    code, out, err = folder.up(slow, ROUTER, options=("--wait-timeout", "4")).end()
    assert (code, out) == (6, "")
    assert "error: chat not ready within 4 s\nhint: allow more time with --wait-timeout\n" in err


def test_a_port_that_is_taken_ends_up_before_anything_starts(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        code, out, err = folder.up(CHAT, {**ROUTER, "port": port}).end()
    assert (code, out) == (4, "")
    assert f"error: port {port} of router is taken by " in err
    assert f"(process {os.getpid()})" in err
    assert not (folder.path / ".model-compose/logs").exists()


def test_down_ends_everything_and_says_so(folder: Folder) -> None:
    up = folder.up(CHAT, ROUTER).settled()
    pids = [service["pid"] for service in folder.services().values()]
    assert folder.command("down") == (0, "stopped chat and router in N s\n", "")
    assert up.end()[0] == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert folder.command("ps")[0] == 5
    assert folder.command("down")[:2] == (0, f"nothing is running in {folder.path}\n")


def test_a_second_interrupt_kills_what_does_not_want_to_end(folder: Folder) -> None:
    up = folder.up({**CHAT, "ignore_term": True}, {**ROUTER, "ignore_term": True}).settled()
    pids = [service["pid"] for service in folder.services().values()]
    up.interrupt()
    wait_until(lambda: folder.services()["router"]["state"] == "stopping")
    up.interrupt()
    wait_until(lambda: up.process.poll() is not None, timeout_s=15)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_in_the_background_up_returns_when_all_is_decided_and_leaves_the_terminal(folder: Folder) -> None:
    reading_end, writing_end = os.pipe()
    os.set_inheritable(writing_end, True)
    up = folder.up(CHAT, TOO_BIG, ROUTER, options=("-d",), MODEL_COMPOSE_READY_FD=str(writing_end))
    os.close(writing_end)
    with os.fdopen(reading_end) as pipe:
        assert pipe.read() == "3"
    assert up.process.poll() is None
    assert json.loads(folder.state.read_text())["services"][0]["state"] == "ready"
    assert folder.command("down")[0] == 0
    wait_until(lambda: up.process.poll() is not None)
