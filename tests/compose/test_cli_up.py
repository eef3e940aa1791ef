"""`up`, and what the other commands say about it: real processes, with fake services behind a real command line."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.ups import ENVIRONMENT, GOOD, PAGE, ROUTER, TOO_BIG, Start, command, wait_until

pytestmark = pytest.mark.server

WORKFLOWS = [
    {
        "workflow_id": "w",
        "input": [{"name": "tone", "type": "text"}, {"name": "question", "type": "text", "required": True}],
    }
]


def test_up_shows_a_table_and_a_line_to_copy_and_ends_clean_on_an_interrupt(start: Start, tmp_path: Path) -> None:
    router = {**ROUTER, "answers": {"/api/workflows?include_schema=true": WORKFLOWS}}
    up = start(GOOD, router, PAGE)
    up.wait_for_table()
    up.interrupt()
    code, out, err = up.end()
    assert code == 0
    assert out == (
        "SERVICE  STATE  MEMORY  ADDRESS\n"
        "chat  ready  N MB  -\n"
        "router  ready  N MB  http://127.0.0.1:8080/api\n"
        "page  ready  N MB  http://127.0.0.1:8081\n"
        "\n"
        "try it:\n"
        '  model-compose run --input \'{"question": "Hello"}\'\n'
    )
    assert sorted(err.splitlines()) == sorted(
        [f"{name}: {word}" for name in ("chat", "router", "page") for word in ("starting", "ready")]
        + [f"start  {name}  a fake  (the test wants it)" for name in ("chat", "router", "page")]
        + ["stopping; Ctrl-C again hurries", "stopped"]
    )
    assert not (tmp_path / ".model-compose/state.json").exists()
    assert not (tmp_path / ".model-compose/settings").exists()


def test_one_failed_service_is_told_and_the_others_go_on(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, TOO_BIG, ROUTER)
    up.wait_for_table()
    code, out, err = command(tmp_path, "ps")
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == ("big  failed  -  -  unix:big  0  The model needs 9 GB, and there are 2 GB.")
    assert out.splitlines()[-3:] == [
        "the last lines of big:",
        "  loading",
        "  The model needs 9 GB, and there are 2 GB.",
    ]
    up.interrupt()
    code, out, err = up.end()
    assert code == 3
    assert "big  failed  -  -\n" in out
    assert "error: big: The model needs 9 GB, and there are 2 GB.\n  loading\n" in err
    assert err.count("The model needs 9 GB") == 1


def test_where_no_task_can_work_up_stops_the_rest_and_fails(start: Start, tmp_path: Path) -> None:
    code, out, err = start(TOO_BIG, ROUTER).end()
    assert code == 3
    assert "SERVICE" not in out
    assert "error: big: The model needs 9 GB, and there are 2 GB." in err
    assert not (tmp_path / ".model-compose/state.json").exists()


def test_a_preparation_that_meets_a_full_disk_ends_in_the_environments_code(start: Start) -> None:
    error = {"error": {"message": "The disk is full.", "hint": "Free 3 GB."}}
    code, _, err = start({**GOOD, "prepare": {"lines": [error], "exit": 4}}, ROUTER).end()
    assert code == 4
    assert "error: chat: The disk is full.\nhint: Free 3 GB.\n" in err


def test_a_start_that_takes_too_long_is_ended(start: Start) -> None:
    slow = {**GOOD, "unready": [{"stage": "loading"}] * 1_000}
    code, out, err = start(slow, ROUTER, options=("--wait-timeout", "1.5")).end()
    assert (code, out) == (6, "")
    assert "error: chat not ready within 1.5 s\nhint: allow more time with --wait-timeout\n" in err


def test_a_port_that_is_taken_ends_up_before_anything_starts(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = start(GOOD, {**ROUTER, "port": port}).end()
    assert (code, out) == (4, "")
    assert f"\nerror: port {port} of router is taken by " in err
    assert not (tmp_path / ".model-compose/logs").exists()


def test_a_second_up_is_refused_and_down_ends_the_first(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER)
    up.wait_for_table()
    code, _, err = start(GOOD, ROUTER).end()
    assert code == 4
    assert re.fullmatch(
        rf"error: {tmp_path} is already running since \d\d:\d\d \(process {up.process.pid}\)\n"
        r"hint: `model-compose ps` shows it, `model-compose down` stops it\n",
        err,
    )
    code, out, err = command(tmp_path, "down")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"stopped chat and router in \d+\.\d s\n", out)
    assert up.end()[0] == 0
    assert command(tmp_path, "ps")[0] == 5


def test_ps_as_json_tells_processes_and_memory(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER)
    up.wait_for_table()
    listing = json.loads(command(tmp_path, "ps", "--json")[1])
    assert listing["running"] is True
    assert listing["pid"] == up.process.pid
    assert listing["changed_files"] == []
    (chat, _) = listing["services"]
    assert (chat["name"], chat["state"], chat["restarts"], chat["last_error"]) == ("chat", "ready", 0, None)
    assert chat["memory_bytes"] > 1_000_000
    os.kill(chat["pid"], 0)


def test_a_file_edited_while_it_runs_is_said_to_be_not_applied(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER)
    up.wait_for_table()
    path = tmp_path / "model-compose.yml"
    path.write_text(path.read_text() + "# edited\n")
    assert command(tmp_path, "ps")[2] == (
        "warning: model-compose.yml changed, not applied; `model-compose down` and `model-compose up` apply it\n"
    )


def test_logs_are_kept_shown_and_followed(start: Start, tmp_path: Path) -> None:
    up = start({**GOOD, "print": ["one", "two", "three"]}, {**ROUTER, "print": ["listening"]})
    up.wait_for_table()
    code, out, err = command(tmp_path, "logs")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == ["chat  | one", "chat  | three", "chat  | two", "router | listening"]
    assert command(tmp_path, "logs", "chat", "--tail", "2") == (0, "two\nthree\n", "")
    assert command(tmp_path, "logs", "cat") == (
        2,
        "",
        "error: there is no service `cat`\nhint: did you mean `chat`? there are chat, router\n",
    )
    follower = subprocess.Popen(
        [sys.executable, "-m", "compose", "logs", "-f", "chat"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(3)] == ["one\n", "two\n", "three\n"]
    up.interrupt()
    up.end()
    assert follower.wait(20) == 0
    follower.stdout.close()
    code, out, _ = command(tmp_path, "logs", "chat", "--timestamps")
    assert code == 0
    assert re.fullmatch(r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z (one|two|three)\n){3}", out)
    assert command(tmp_path, "logs", "chat", "--tail", "1") == (0, "three\n", "")


def test_following_logs_ends_clean_on_an_interrupt(start: Start, tmp_path: Path) -> None:
    start({**GOOD, "print": ["one"]}, ROUTER).wait_for_table()
    follower = subprocess.Popen(
        [sys.executable, "-m", "compose", "logs", "-f", "chat"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    follower.send_signal(signal.SIGINT)
    assert follower.communicate(timeout=20) == ("", "")
    assert follower.returncode == 0


def test_down_says_how_many_accepted_runs_are_kept_and_keeps_them(start: Start, tmp_path: Path) -> None:
    database = tmp_path / ".model-compose" / "runs.db"
    up = start(GOOD, {**ROUTER, "database": {"path": str(database)}})
    up.wait_for_table()
    with contextlib.closing(sqlite3.connect(database)) as runs:
        runs.execute("create table runs (id text, ended_at real)")
        runs.execute("insert into runs values ('a', null), ('b', null), ('c', 1)")
        runs.commit()
    code, out, _ = command(tmp_path, "down")
    assert code == 0
    assert re.sub(r"\d+\.\d s", "N s", out) == (
        "stopped chat and router in N s; 2 accepted runs go on with the next `up`\n"
    )
    assert database.exists()


def test_a_second_up_with_a_changed_file_says_that_it_is_not_applied(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    path = tmp_path / "model-compose.yml"
    path.write_text(path.read_text() + "# edited\n")
    code, _, err = start(GOOD, ROUTER).end()
    assert code == 4
    assert err.startswith("warning: model-compose.yml changed, not applied; `model-compose down` and")


def test_after_a_kill_the_next_command_clears_away_what_is_left(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER)
    up.wait_for_table()
    state = json.loads((tmp_path / ".model-compose/state.json").read_text())
    up.process.kill()
    up.end()
    code, _, err = command(tmp_path, "ps")
    assert (code, err.splitlines()[0]) == (
        5,
        f"error: nothing is running in {tmp_path}, since the last run was killed",
    )
    assert not Path(state["socket_directory"]).exists()
    again = start(GOOD, ROUTER)
    again.wait_for_table()
    again.interrupt()
    assert again.end()[0] == 0


def test_the_background_half_says_how_the_start_went_and_leaves_the_terminal(start: Start, tmp_path: Path) -> None:
    reading_end, writing_end = os.pipe()
    os.set_inheritable(writing_end, True)
    up = start(
        GOOD,
        TOO_BIG,
        ROUTER,
        options=("-d",),
        environment={"MODEL_COMPOSE_READY_FD": str(writing_end)},
    )
    os.close(writing_end)
    with os.fdopen(reading_end) as pipe:
        assert pipe.read() == "3"
    assert up.process.stdout is not None
    assert up.process.stderr is not None
    assert "big" in up.process.stdout.read()  # it ends, although the process does not
    assert "The model needs 9 GB" in up.process.stderr.read()
    assert up.process.poll() is None
    assert command(tmp_path, "down")[0] == 0
    wait_until(lambda: up.process.poll() is not None)
