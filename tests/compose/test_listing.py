"""What `ps` makes of the state of a run."""

import io
from pathlib import Path

import pytest

from compose.commands.listing import list_services
from compose.output import Console
from compose.state import Selection
from infra.state import ProcessId, RunState, ServiceState, this_process

pytestmark = pytest.mark.unit

ROUTER = ServiceState(name="router", kind="router", state="ready", address="http://127.0.0.1:8080")


def listed(folder: Path, *services: ServiceState) -> str:
    RunState(
        tool_version="0.1.0",
        supervisor=this_process(),
        started_at="2031-02-03T10:42:00+01:00",
        spec_digest="d",
        files={},
        api_url="http://127.0.0.1:8080/api",
        page_url=None,
        socket_directory=str(folder / "sockets"),
        stop_timeout_s=60,
        services=services,
    ).write(folder / ".model-compose/state.json")
    out = io.StringIO()
    list_services(Selection((folder / "model-compose.yml",)), Console(out=out), as_json=False)
    return out.getvalue()


def test_without_errors_there_is_no_column_for_them(tmp_path: Path) -> None:
    assert listed(tmp_path, ROUTER) == (
        "SERVICE  STATE  PID  MEMORY  ADDRESS                    RESTARTS\n"
        "router   ready  -    -       http://127.0.0.1:8080/api  0\n"
    )


def test_a_failed_service_has_its_reason_its_last_lines_and_what_may_help(tmp_path: Path) -> None:
    chat = ServiceState(
        name="chat",
        kind="task",
        state="failed",
        address="unix:/s",
        restarts=4,
        last_error="chat ran out of memory",
        hint="use a smaller model",
        last_lines=("one", "two"),
    )
    assert listed(tmp_path, chat, ROUTER) == (
        "SERVICE  STATE   PID  MEMORY  ADDRESS                    RESTARTS  LAST ERROR\n"
        "chat     failed  -    -       unix:/s                    4         chat ran out of memory\n"
        "router   ready   -    -       http://127.0.0.1:8080/api  0         -\n"
        "\nthe last lines of chat:\n  one\n  two\n"
        "\nwhat may help chat: use a smaller model\n"
    )


def test_a_process_that_is_gone_is_not_said_to_be_ready(tmp_path: Path) -> None:
    """A full disk leaves an old state behind."""
    gone = ServiceState(
        name="chat", kind="task", state="ready", address="unix:/s", process=ProcessId(this_process().pid, "before")
    )
    assert listed(tmp_path, gone).splitlines()[1].split()[:2] == ["chat", "ended"]
