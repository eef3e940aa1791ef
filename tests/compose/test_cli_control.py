"""`stop`, `start` and `restart` beside a running `up`: real processes, with fake services."""

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from infra.state import ProcessId
from tests.compose.ups import GOOD, PAGE, ROUTER, TOO_BIG, Start, command, wait_until
from tests.net import free_port

pytestmark = pytest.mark.server


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    services = json.loads(command(folder, "ps", "--json")[1])["services"]
    return {service["name"]: service for service in services}


def said(ended: tuple[int, str, str]) -> tuple[int, str]:
    """Exit code and result of a command, without the time it took; what it says meanwhile is of no interest."""
    return ended[0], re.sub(r"\d+\.\d s", "N s", ended[1])


def is_alive(pid: int) -> bool:
    return ProcessId.of(pid) is not None


def test_a_stopped_service_ends_and_the_others_stay_as_they_are(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER, PAGE)
    up.wait_for_table()
    before = listed(tmp_path)
    assert said(command(tmp_path, "stop", "chat")) == (0, "stopped chat in N s\n")
    assert not is_alive(before["chat"]["pid"])
    wait_until(lambda: listed(tmp_path)["chat"]["state"] == "stopped")
    after = listed(tmp_path)
    assert (after["chat"]["pid"], after["chat"]["last_error"]) == (None, None)
    assert [after[name]["pid"] for name in ("router", "page")] == [before[name]["pid"] for name in ("router", "page")]
    stages = json.loads((tmp_path / ".model-compose/stages.json").read_text())
    assert stages["chat"] == {"stage": "absent", "message": "it was stopped"}


def test_what_is_so_already_is_said_and_is_no_failure(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    assert said(command(tmp_path, "start")) == (0, "chat runs already\nrouter runs already\n")
    command(tmp_path, "stop", "router")
    assert said(command(tmp_path, "stop")) == (0, "stopped chat in N s\nrouter is stopped already\n")
    assert said(command(tmp_path, "stop")) == (0, "chat is stopped already\nrouter is stopped already\n")


def test_after_a_stop_of_all_up_stays_and_start_brings_all_back_to_the_same_addresses(
    start: Start, tmp_path: Path
) -> None:
    up = start(GOOD, {**ROUTER, "port": free_port()})
    up.wait_for_table()
    before = listed(tmp_path)
    assert said(command(tmp_path, "stop")) == (0, "stopped chat and router in N s\n")
    assert up.process.poll() is None
    assert said(command(tmp_path, "start")) == (0, "started chat and router in N s\n")
    wait_until(lambda: {service["state"] for service in listed(tmp_path).values()} == {"ready"})
    after = listed(tmp_path)
    assert [service["address"] for service in after.values()] == [service["address"] for service in before.values()]
    up.interrupt()
    assert up.end()[0] == 0


def test_a_restarted_service_is_a_new_process_beside_untouched_ones(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    before = listed(tmp_path)
    assert said(command(tmp_path, "restart", "chat")) == (0, "restarted chat in N s\n")
    wait_until(lambda: listed(tmp_path)["chat"]["state"] == "ready")
    after = listed(tmp_path)
    assert after["chat"]["pid"] != before["chat"]["pid"]
    assert after["router"]["pid"] == before["router"]["pid"]
    assert not is_alive(before["chat"]["pid"])
    assert said(command(tmp_path, "restart")) == (0, "restarted chat and router in N s\n")


def test_a_preparation_that_is_done_is_not_repeated(start: Start, tmp_path: Path) -> None:
    prepared = {**GOOD, "prepare": {"lines": ["fetched"], "exit": 0}}
    start(prepared, ROUTER).wait_for_table()
    assert command(tmp_path, "restart", "chat")[0] == 0
    assert command(tmp_path, "logs", "chat") == (0, "fetched\n", "")


def test_start_tries_a_failed_service_again_and_ends_in_its_code(start: Start, tmp_path: Path) -> None:
    start(GOOD, TOO_BIG, ROUTER).wait_for_table()
    code, out, err = command(tmp_path, "start", "big")
    assert (code, out) == (3, "")
    assert err.endswith("error: big: The model needs 9 GB, and there are 2 GB.\n")
    assert said(command(tmp_path, "stop", "big")) == (0, "big had failed, so there is nothing to stop\n")
    assert listed(tmp_path)["chat"]["state"] == "ready"


def test_an_unknown_service_is_wrong_usage(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    hint = "hint: did you mean `router`? there are chat, router\n"
    assert command(tmp_path, "restart", "ruoter") == (2, "", f"error: there is no service `ruoter`\n{hint}")


@pytest.mark.parametrize("verb", ["stop", "start", "restart"])
def test_where_nothing_runs_it_is_said_so(tmp_path: Path, verb: str) -> None:
    hint = "hint: `model-compose up` starts what the file describes\n"
    assert command(tmp_path, verb) == (5, "", f"error: nothing is running in {tmp_path}\n{hint}")


def test_what_takes_too_long_ends_the_waiting_and_not_the_work(start: Start, tmp_path: Path) -> None:
    start({**GOOD, "import_s": 1}, ROUTER).wait_for_table()
    code, out, err = command(tmp_path, "restart", "chat", "--wait-timeout", "0.5")
    assert (code, out) == (6, "")
    assert err.endswith(
        "error: chat not restarted within 0.5 s\nhint: it goes on: `model-compose ps` shows how far it is\n"
    )
    assert said(command(tmp_path, "start", "chat")) == (0, "chat runs already\n")


def test_a_port_that_was_taken_meanwhile_is_named(start: Start, tmp_path: Path) -> None:
    port = free_port()
    start(GOOD, {**ROUTER, "port": port}).wait_for_table()
    command(tmp_path, "stop", "router")
    with socket.create_server(("127.0.0.1", port)):
        code, out, err = command(tmp_path, "start", "router")
    assert (code, out) == (4, "")
    assert f"error: router: port {port} of router is taken by " in err
    assert f"(process {os.getpid()})" in err
    assert command(tmp_path, "start", "router")[0] == 0


def test_down_ends_a_run_whose_services_are_stopped(start: Start, tmp_path: Path) -> None:
    up = start(GOOD, ROUTER)
    up.wait_for_table()
    command(tmp_path, "stop")
    assert command(tmp_path, "down")[0] == 0
    assert up.end()[0] == 0


def test_a_changed_file_is_said_to_be_not_applied_by_a_restart(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    path = tmp_path / "model-compose.yml"
    path.write_text(path.read_text() + "# edited\n")
    assert command(tmp_path, "restart", "chat")[2].splitlines()[0] == (
        "warning: model-compose.yml changed, not applied; `model-compose down` and `model-compose up` apply it"
    )


def test_run_says_that_the_router_is_stopped(start: Start, tmp_path: Path) -> None:
    start(GOOD, ROUTER).wait_for_table()
    command(tmp_path, "stop", "router")
    wait_until(lambda: listed(tmp_path)["router"]["state"] == "stopped")
    assert command(tmp_path, "run", "-i", "x=1") == (
        5,
        "",
        "error: the router is stopped, so nothing can be run\n"
        "hint: `model-compose start` starts what is stopped, `model-compose ps` shows why it failed\n",
    )
