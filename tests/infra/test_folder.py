"""One run a folder, and nothing left of one that was killed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import ExitCode, UserError
from infra.folder import AlreadyRunningError, RunFolder
from infra.state import ProcessId, RunState, ServiceState, this_process

pytestmark = pytest.mark.server


def state_of(supervisor: ProcessId, sockets: Path, *services: ServiceState) -> RunState:
    return RunState(
        tool_version="0.1.0",
        supervisor=supervisor,
        started_at="2031-02-03T10:42:00+01:00",
        spec_digest="d",
        files={},
        api_url="http://127.0.0.1:8080/api",
        page_url=None,
        socket_directory=str(sockets),
        stop_timeout_s=60,
        services=services,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / ".model-compose")
    folder.make()
    return folder


def test_a_state_is_read_as_it_was_written_and_is_private(folder: RunFolder, tmp_path: Path) -> None:
    service = ServiceState(
        name="chat",
        kind="task",
        state="failed",
        address="unix:/s",
        process=this_process(),
        last_error="no",
        last_lines=("a", "b"),
    )
    state = state_of(this_process(), tmp_path, service)
    state.write(folder.state)
    assert RunState.read(folder.state) == state
    assert folder.state.stat().st_mode & 0o777 == 0o600
    assert folder.running() == state


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99, "tool_version": "9.9.9"}', '{"version": 1}'])
def test_a_state_of_another_version_whose_run_has_ended_is_no_run_and_is_cleared_away(
    folder: RunFolder, text: str
) -> None:
    folder.state.write_text(text)
    assert folder.running() is None
    assert folder.clear_stale()
    assert not folder.state.exists()
    folder.state.write_text(text)
    with folder.hold() as cleared:
        assert cleared
        assert not folder.state.exists()


def test_a_state_of_another_version_whose_processes_live_is_refused_with_their_numbers(folder: RunFolder) -> None:
    me = this_process()
    process = {"pid": me.pid, "born": me.born}
    folder.state.write_text(json.dumps({"version": 99, "tool_version": "9.9.9", "units": [{"runs": process}]}))
    for look in (folder.running, folder.clear_stale, folder.hold().__enter__):
        with pytest.raises(UserError) as caught:
            look()
        assert caught.value.message == (
            f"{folder.state} was written by model-compose 9.9.9, and what it tells of has not ended"
        )
        assert caught.value.hint == f"stop that run with the version that started it, or end process {me.pid}"
        assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert folder.state.exists()


def test_a_state_that_tells_nothing_is_kept_while_its_run_holds_the_lock(folder: RunFolder) -> None:
    with folder.hold():
        folder.state.write_text("{}")
        with pytest.raises(UserError) as caught:
            folder.clear_stale()
    assert caught.value.hint == "stop that run with the version that started it"


def test_a_file_where_the_folder_should_be_is_no_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / ".model-compose")
    folder.root.touch()
    assert folder.running() is None
    with pytest.raises(UserError) as caught, folder.hold():
        pass
    assert caught.value.message == f"{folder.root} cannot be written: file exists"
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_second_run_is_refused_and_told_since_when(folder: RunFolder, tmp_path: Path) -> None:
    with folder.hold():
        state_of(this_process(), tmp_path).write(folder.state)
        with pytest.raises(UserError) as caught, folder.hold():
            pass
    assert caught.value.message == (f"{tmp_path} is already running since 2031-02-03 10:42 (process {os.getpid()})")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_who_comes_before_a_run_has_begun_is_not_sent_to_stop_it(folder: RunFolder, tmp_path: Path) -> None:
    with folder.hold(), pytest.raises(AlreadyRunningError) as caught, folder.hold():
        pass
    assert caught.value.message == f"another `up` or `down` is at work in {tmp_path}"
    assert caught.value.hint == "try again once it is done; `model-compose ps` shows what runs then"


def test_the_lock_ends_with_its_holder(folder: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from infra.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).hold(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError), folder.hold():
            pass
        holder.kill()
    with folder.hold():
        pass


def test_what_a_killed_run_left_is_cleared_away(folder: RunFolder, tmp_path: Path) -> None:
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    (sockets / "chat.sock").touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0) as survivor:
        born = ProcessId.of(survivor.pid)
        chat = ServiceState(name="chat", kind="task", state="ready", address="unix:/s", process=born)
        other_birth = replace(this_process(), born="another boot:1")
        state_of(other_birth, sockets, chat).write(folder.state)
        folder.stages.write_text("{}")
        assert folder.running() is None
        assert folder.clear_stale()
        assert survivor.wait(10) == -9
    assert not sockets.exists()
    assert not folder.state.exists()
    assert not folder.stages.exists()
    assert not folder.clear_stale()


def test_a_process_that_took_over_the_number_of_a_dead_one_is_left_alone(folder: RunFolder, tmp_path: Path) -> None:
    reused = replace(this_process(), born="another boot:1")
    chat = ServiceState(name="chat", kind="task", state="ready", address="unix:/s", process=reused)
    state_of(reused, tmp_path / "none", chat).write(folder.state)
    assert folder.clear_stale()


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessId.of(child.pid) is None
    child.wait()


def test_the_folder_is_private_and_invisible_to_git(folder: RunFolder) -> None:
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert (folder.root / ".gitignore").read_text() == "*\n"
    assert json.dumps(sorted(path.name for path in folder.root.iterdir())) == '[".gitignore"]'
