"""`up` where containers come in: what it refuses before it changes anything, and what it does without an engine."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import compose.commands.container_run
import compose.commands.stop
import compose.commands.up
from compose.commands.stop import down
from compose.commands.up import Wishes, up
from compose.output import Console
from compose.plan import Plan
from compose.state import Selection
from infra.docker.errors import EngineError
from infra.errors import ExitCode, UserError
from infra.files import write_private
from infra.folder import AlreadyRunningError
from infra.state import RunState, ServiceState
from infra.supervisor import Supervisor
from tests.compose.loading import run_state
from tests.infra.docker.fakes import FakeEngine

pytestmark = pytest.mark.unit

FILE = "component: {type: model, task: chat-completion, model: ./model}\n"
Replace = Callable[[str, Any], None]


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    (tmp_path / "model-compose.yml").write_text(FILE)
    chosen = Selection((tmp_path / "model-compose.yml",))
    chosen.run_folder.make()
    return chosen


@pytest.fixture
def console() -> Console:
    return Console(io.StringIO(), io.StringIO())


def say_running(selection: Selection, runtime: Any) -> None:
    run_state(runtime, selection.directory / "sockets").write(selection.run_folder.state)


def refuse(*_: object) -> None:
    raise AssertionError("it was asked for")


def test_no_image_is_built_where_processes_run(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_running(selection, "process")
    monkeypatch.setattr(compose.commands.up, "connect", refuse)
    with pytest.raises(UserError, match="is already running since"):
        up(selection, Wishes(runtime="docker"), console)


def test_what_runs_is_not_taken_over_for_a_run_that_cannot_be(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_running(selection, "docker")
    engine = FakeEngine()
    taken = UserError("port 1 of router is taken", exit_code=ExitCode.ENVIRONMENT)

    def require_room(*_: object) -> None:
        raise taken

    monkeypatch.setattr(compose.commands.up, "connect", lambda: engine)
    monkeypatch.setattr(compose.commands.container_run, "images_of", lambda *_: {})
    monkeypatch.setattr(
        compose.commands.container_run, "plan_containers", lambda *_: (Plan((), (), "", None, ""), None)
    )
    monkeypatch.setattr(compose.commands.container_run, "require_room", require_room)
    monkeypatch.setattr(compose.commands.container_run, "take_over", refuse)
    with pytest.raises(UserError) as caught:
        up(selection, Wishes(runtime="docker"), console)
    assert caught.value is taken
    assert engine.calls == [("close", "")]


def test_processes_run_without_the_engine_that_may_still_have_containers(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect() -> None:
        raise EngineError("the Docker engine is not running", "start it", transient=True)

    def plan_for(*_: object) -> None:
        raise KeyboardInterrupt

    selection.run_folder.containers.write_text("demo-1\n")
    monkeypatch.setattr(compose.commands.container_run, "connect", connect)
    monkeypatch.setattr(compose.commands.up, "plan_for", plan_for)
    assert up(selection, Wishes(), console) == ExitCode.OK
    assert isinstance(console.err, io.StringIO)
    assert console.err.getvalue() == (
        "warning: containers of an earlier run may still be there: the Docker engine is not running\n"
        "containers are left; `model-compose up --runtime docker` takes them over, `model-compose down` removes them\n"
    )
    assert selection.run_folder.containers.read_text() == "demo-1\n"


@pytest.mark.parametrize(
    ("database", "sentence"),
    [({"driver": "sqlite", "path": "/var/lib/runs.db"}, "; its runs stay in the volume demo-1-runs"), ({}, "")],
)
def test_down_says_where_a_router_in_a_container_kept_its_runs(
    selection: Selection,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    database: dict[str, str],
    sentence: str,
) -> None:
    engine = FakeEngine()
    folder = selection.run_folder
    say_running(selection, "docker")
    folder.containers.write_text("demo-1\n")
    write_private(folder.settings / "router.json", json.dumps({"database": database}))
    monkeypatch.setattr(compose.commands.container_run, "connect", lambda: engine)

    def end(_: RunState) -> bool:
        folder.remove_state()
        return True

    monkeypatch.setattr(compose.commands.stop, "_end", end)
    monkeypatch.setattr("services.router.store.kept.kept_runs", refuse)
    down(selection, console)
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue().endswith(f" s{sentence}\n")
    assert engine.calls == [("remove_networks", "demo-1"), ("close", "")]


def test_what_a_killed_run_left_is_removed_by_nobody_else_at_the_same_time(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = selection.run_folder
    folder.containers.write_text("demo-1\n")

    def remove(*_: object) -> tuple[str, ...]:
        with pytest.raises(AlreadyRunningError), folder.hold():
            pass
        folder.containers.unlink()
        return ("chat",)

    monkeypatch.setattr(compose.commands.container_run, "remove_containers", remove)
    down(selection, console)
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue() == "removed the containers of chat, which a killed run had left\n"


def test_a_run_that_takes_over_what_another_left_is_ended_in_its_place(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = selection.run_folder
    folder.containers.write_text("demo-1\n")
    begun = run_state("docker", selection.directory)
    found = iter([None, begun])
    monkeypatch.setattr(compose.commands.stop, "_started", lambda *_: next(found))
    monkeypatch.setattr(compose.commands.container_run, "remove_containers", refuse)
    ended = []

    def end(state: RunState) -> bool:
        ended.append(state)
        return True

    monkeypatch.setattr(compose.commands.stop, "_end", end)
    with folder.hold():
        down(selection, console)
    assert ended == [begun]
    assert folder.containers.exists()


async def test_no_token_is_sent_to_this_machine_for_a_router_on_another(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((), (), "http://box:8080/api", None, "", elsewhere=True)
    supervisor = mock.create_autospec(Supervisor, instance=True)
    supervisor.snapshot.return_value = (ServiceState(name="router", kind="router", state="ready", address="box:8080"),)
    monkeypatch.setattr(compose.commands.up, "_run_command", refuse)
    await compose.commands.up._show_table(supervisor, plan, selection, console)
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue().split() == [
        *("SERVICE", "STATE", "MEMORY", "ADDRESS"),
        *("router", "ready", "-", "http://box:8080/api"),
    ]


@pytest.mark.parametrize(("runs", "said"), [(True, ""), (False, f"{compose.commands.up._LEFT}\n")])
def test_an_interrupted_up_tells_of_containers_that_nobody_keeps(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch, *, runs: bool, said: str
) -> None:
    def images_of(*_: object) -> None:
        raise KeyboardInterrupt

    if runs:
        say_running(selection, "docker")
    selection.run_folder.containers.write_text("demo-1\n")
    monkeypatch.setattr(compose.commands.up, "connect", FakeEngine)
    monkeypatch.setattr(compose.commands.container_run, "images_of", images_of)
    assert up(selection, Wishes(runtime="docker"), console) == ExitCode.OK
    assert isinstance(console.err, io.StringIO)
    assert console.err.getvalue() == said


def test_without_an_engine_the_other_way_to_run_is_named(
    selection: Selection, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect() -> None:
        raise EngineError("there is no Docker engine", "install Docker")

    monkeypatch.setattr(compose.commands.up, "connect", connect)
    with pytest.raises(EngineError) as caught:
        up(selection, Wishes("docker", None, None), console)
    assert caught.value.hint == "install Docker, or use `--runtime process`"
