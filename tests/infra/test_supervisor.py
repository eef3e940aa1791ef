"""The supervisor over real processes and sockets."""

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import net
from infra.errors import ExitCode
from infra.process import Child
from infra.processes import bind
from infra.state import ProcessId
from infra.supervisor import Supervisor, stop_timeout_s, supervise
from infra.unit import Unit
from tests.infra.rig import Recorder, Run, fake_unit, within

pytestmark = pytest.mark.server


@asynccontextmanager
async def running(run: Run, recorder: Recorder, *units: Unit) -> AsyncIterator[Supervisor]:
    async with supervise(units, bind(units), run.folder, recorder) as supervisor:
        yield supervisor


def pid_of(supervisor: Supervisor, name: str) -> int:
    process = supervisor.services[name].snapshot().process
    assert process is not None
    return process.pid


def is_alive(pid: int) -> bool:
    return ProcessId.of(pid) is not None


async def test_units_of_every_kind_become_ready_and_end_clean(run: Run, recorder: Recorder) -> None:
    units = [
        fake_unit("chat", run.sockets),
        fake_unit("router", run.sockets, kind="router"),
        fake_unit("page", run.sockets, kind="page"),
    ]
    async with running(run, recorder, *units) as supervisor:
        await supervisor.settled()
        assert {service.state for service in supervisor.services.values()} == {"ready"}
        pids = [pid_of(supervisor, name) for name in ("chat", "router", "page")]
    assert recorder.history("chat") == ["waiting", "starting", "ready", "stopping", "stopped"]
    assert not any(map(is_alive, pids))
    assert all(service.failure is None for service in supervisor.services.values())


async def test_what_takes_requests_ends_before_the_tasks_behind_it(run: Run, recorder: Recorder) -> None:
    units = [fake_unit("chat", run.sockets), fake_unit("router", run.sockets, kind="router")]
    async with running(run, recorder, *units) as supervisor:
        await supervisor.settled()
    ends = [(state.name, state.state) for state in recorder.states if state.state in ("stopping", "stopped")]
    assert list(dict.fromkeys(ends)) == [
        ("router", "stopping"),
        ("router", "stopped"),
        ("chat", "stopping"),
        ("chat", "stopped"),
    ]


async def test_a_child_sees_no_secret_no_python_path_and_an_empty_folder(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("PYTHONHOME_OF_MINE", "x")
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await supervisor.settled()
        address = supervisor.services["chat"].address
        environment = (await net.get(address, "/environment")).body
        assert (await net.get(address, "/cwd")).body == []
    assert environment.keys() & {"HF_TOKEN", "PYTHONHOME_OF_MINE"} == set()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"


async def test_sockets_and_settings_are_private(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await supervisor.settled()
        paths = [run.sockets / "chat.sock", run.folder.settings / "chat.json", run.folder.logs, run.sockets]
        await recorder.until(lambda: supervisor.services["chat"].state == "ready")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths if path.exists()]
    assert modes[:2] == [0o600, 0o600]
    assert set(modes[2:]) == {0o700}


async def test_a_killed_service_is_started_again(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await supervisor.settled()
        first = pid_of(supervisor, "chat")
        os.kill(first, signal.SIGKILL)
        await recorder.until(lambda: recorder.history("chat")[-2:] == ["restarting", "ready"])
        assert pid_of(supervisor, "chat") != first
        assert supervisor.services["chat"].snapshot().restarts == 1
    assert (
        "chat",
        "[model-compose] chat was killed by the system, most likely because memory ran out; "
        "starting it again in 0.25 s",
    ) in recorder.lines


async def test_a_service_that_hangs_is_ended_and_started_again(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.probe.LIFE_INTERVAL_S", 0.01)
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await supervisor.settled()
        first = pid_of(supervisor, "chat")
        monkeypatch.setattr("infra.probe.POLL_TIMEOUT_S", 0.1)
        os.kill(first, signal.SIGSTOP)
        await recorder.until(lambda: "restarting" in recorder.history("chat"))
        monkeypatch.setattr("infra.probe.POLL_TIMEOUT_S", 5)
        await recorder.until(lambda: recorder.history("chat")[-1] == "ready")
        assert pid_of(supervisor, "chat") != first
    message = "chat answered nobody any more and was ended"
    assert ("chat", f"[model-compose] {message}; starting it again in 0.25 s") in recorder.lines


async def test_a_service_that_keeps_crashing_is_given_up_and_its_last_lines_are_kept(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.restart.FIRST_DELAY_S", 0.01)
    lines = [f"line {number}" for number in range(8)]
    async with running(run, recorder, fake_unit("chat", run.sockets, print=lines, exit=3)) as supervisor:
        await supervisor.settled()
        state = supervisor.services["chat"].snapshot()
    assert state.state == "failed"
    assert state.last_error == "chat ended with exit status 3, 5 times in a row"
    assert state.restarts == 4
    assert state.last_lines == tuple((lines * 3)[-20:])
    assert recorder.history("chat") == ["waiting", "starting", "restarting", "failed"]


async def test_one_failed_service_leaves_the_others_running(run: Run, recorder: Recorder) -> None:
    units = [fake_unit("bad", run.sockets, exit=78, print=["the model is too big"]), fake_unit("good", run.sockets)]
    async with running(run, recorder, *units) as supervisor:
        await supervisor.settled()
        assert [service.state for service in supervisor.services.values()] == ["failed", "ready"]
        with pytest.raises(ConnectionRefusedError):
            await net.get(supervisor.services["bad"].address, "/readyz")


@pytest.mark.parametrize(
    ("status", "code"), [(78, ExitCode.FILE), (69, ExitCode.ENVIRONMENT), (75, ExitCode.ENVIRONMENT)]
)
async def test_a_model_that_cannot_be_served_here_fails_at_once_with_its_last_line(
    run: Run, recorder: Recorder, status: int, code: ExitCode
) -> None:
    unit = fake_unit("chat", run.sockets, exit=status, print=["loading", "The model needs CUDA, and there is none."])
    async with running(run, recorder, unit) as supervisor:
        await supervisor.settled()
        state = supervisor.services["chat"].snapshot()
        assert supervisor.exit_code == code
    assert (state.state, state.last_error, state.restarts) == ("failed", "The model needs CUDA, and there is none.", 0)
    assert [text for _, text in recorder.lines] == ["loading", "The model needs CUDA, and there is none."]


async def test_a_service_that_is_never_ready_fails_after_its_time(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets, import_s=60, start_timeout_s=0.3)) as supervisor:
        await supervisor.settled()
        state = supervisor.services["chat"].snapshot()
    assert state.last_error == "chat was not ready within 0.3 s"
    assert state.hint == "allow more time with `start_timeout` in the file"


async def test_a_service_whose_time_is_over_before_its_process_is_made_fails_too(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = asyncio.Event()
    start = Child.start

    async def wait_for_ever(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    async def start_late(*args: Any, **options: Any) -> Child:
        child = await start(*args, **options)
        await over.wait()
        return child

    monkeypatch.setattr("infra.processes.until_ready", wait_for_ever)
    monkeypatch.setattr(Child, "start", start_late)
    async with running(run, recorder, fake_unit("chat", run.sockets, start_timeout_s=0.1)) as supervisor:
        await supervisor.settled()
        state = supervisor.services["chat"].snapshot()
    assert (state.state, state.last_error) == ("failed", "chat was not ready within 0.1 s")


async def test_a_service_that_was_ready_once_gets_more_than_one_start(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await supervisor.settled()
        service = supervisor.services["chat"]
        unit = service.unit
        service.unit = replace(unit, start_timeout_s=0.01)
        os.kill(pid_of(supervisor, "chat"), signal.SIGKILL)
        late = ("chat", "[model-compose] chat was not ready within 0.01 s; starting it again in 0.5 s")
        await recorder.until(lambda: late in recorder.lines)
        service.unit = unit
        await recorder.until(lambda: recorder.history("chat")[-1] == "ready")


async def test_a_service_that_is_killed_while_it_is_made_ends_at_once(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = asyncio.Event(), asyncio.Event()
    start = Child.start

    async def start_late(*args: Any, **options: Any) -> Child:
        begun.set()
        await over.wait()
        child = await start(*args, **options)
        monkeypatch.setattr(child, "terminate", lambda: None)
        return child

    monkeypatch.setattr(Child, "start", start_late)
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        await begun.wait()
        supervisor.services["chat"].kill()
        over.set()
        async with asyncio.timeout(10):
            await supervisor.services["chat"].ended.wait()


async def test_a_preparation_shows_its_progress_and_comes_first(run: Run, recorder: Recorder) -> None:
    steps = [{"stage": "downloading", "progress": 0.4, "seconds_left": 12}, "a warning"]
    unit = fake_unit("chat", run.sockets, prepare={"lines": steps, "exit": 0})
    async with running(run, recorder, unit) as supervisor:
        await supervisor.settled()
    assert recorder.history("chat")[:4] == ["waiting", "preparing", "starting", "ready"]
    assert ("downloading", 0.4, 12) in [(s.stage, s.progress, s.seconds_left) for s in recorder.states]
    assert ("chat", "a warning") in recorder.lines


async def test_a_preparation_that_fails_says_why(run: Run, recorder: Recorder) -> None:
    error = {"error": {"message": "The disk is full.", "hint": "free 3 GB"}}
    unit = fake_unit("chat", run.sockets, prepare={"lines": [error], "exit": 4})
    async with running(run, recorder, unit) as supervisor:
        await supervisor.settled()
        failure = supervisor.services["chat"].failure
    assert failure is not None
    assert (failure.message, failure.hint, failure.exit_code) == (
        "The disk is full.",
        "free 3 GB",
        ExitCode.ENVIRONMENT,
    )


async def test_stages_tell_the_router_how_far_a_task_is(run: Run, recorder: Recorder) -> None:
    unready = [{"stage": "loading", "progress": 0.5}] * 3
    units = [fake_unit("chat", run.sockets, unready=unready), fake_unit("bad", run.sockets, exit=78, print=["no"])]
    end = {"chat": {"stage": "ready"}, "bad": {"stage": "failed", "message": "no"}}
    seen: list[dict[str, Any]] = []

    def read_the_end() -> bool:
        seen.append(json.loads(run.folder.stages.read_text()) if run.folder.stages.exists() else {})
        return seen[-1] == end

    async with running(run, recorder, *units):
        await within(20, read_the_end)
    assert seen[-1] == end
    assert {"stage": "loading", "progress": 0.5} in [stages.get("chat") for stages in seen]


async def test_a_service_that_ignores_the_request_to_end_is_killed_with_all_it_started(
    run: Run, recorder: Recorder, tmp_path: Path
) -> None:
    unit = fake_unit("chat", run.sockets, ignore_term=True, child=str(tmp_path / "pid"), stop_timeout_s=0.2)
    async with running(run, recorder, unit) as supervisor:
        await supervisor.settled()
        pid = pid_of(supervisor, "chat")
        grandchild = ""
        while not grandchild:
            await asyncio.sleep(0.02)
            grandchild = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    assert not is_alive(pid)
    assert not is_alive(int(grandchild))


async def test_the_third_interrupt_ends_everything_at_once(run: Run, recorder: Recorder) -> None:
    unit = fake_unit("chat", run.sockets, ignore_term=True, stop_timeout_s=60)
    async with running(run, recorder, unit) as supervisor:
        await supervisor.settled()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        await supervisor.stop_requests.immediate.wait()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_long_lines_are_cut_in_the_log(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets, flood_bytes=1_000_000)) as supervisor:
        await supervisor.settled()
        await recorder.until(lambda: bool(recorder.lines))
    assert recorder.lines == [("chat", "x" * 8192 + " ... (cut)")]
    assert (run.folder.logs / "chat.log").stat().st_size < 9_000


def test_the_stop_may_take_as_long_as_front_and_tasks_together(run: Run) -> None:
    units = [
        fake_unit("router", run.sockets, kind="router", stop_timeout_s=35),
        fake_unit("page", run.sockets, kind="page", stop_timeout_s=5),
        fake_unit("chat", run.sockets, stop_timeout_s=10),
    ]
    assert stop_timeout_s(units) == 45
