"""Runs in containers from the command's side, over an engine in memory."""

import asyncio
import io
import threading
from pathlib import Path

import pytest

import compose.container_run
from compose.container_run import ContainerRun, container_runtime, remove_containers
from compose.output import Console
from infra.docker.container import project_id
from infra.folder import RunFolder
from tests.infra.docker.fakes import CHAT, PROJECT, FakeEngine

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / ".model-compose")
    made.make()
    return made


@pytest.fixture
def console() -> Console:
    return Console(io.StringIO(), io.StringIO())


def said(console: Console) -> str:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue()


async def test_an_interrupt_waits_for_what_the_engine_does_just_now(
    folder: RunFolder, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    engine = FakeEngine()

    def make_room(*_: object) -> None:
        begun.set()
        assert go_on.wait(10)
        engine.add(CHAT.config(PROJECT), "new")

    monkeypatch.setattr(compose.container_run, "make_room", make_room)

    async def run() -> None:
        async with container_runtime(ContainerRun(engine, PROJECT, (CHAT,), ()), folder, console):
            raise AssertionError("it began")

    running = asyncio.create_task(run())
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=0.1)
    assert not done
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert folder.containers.read_text() == f"{PROJECT}\n"


async def test_where_no_container_is_left_nothing_is(folder: RunFolder, console: Console) -> None:
    engine = FakeEngine()
    engine.used_networks = ("demo-1-front",)
    async with container_runtime(ContainerRun(engine, PROJECT, (CHAT,), ()), folder, console):
        assert folder.containers.exists()
    assert not folder.containers.exists()
    assert said(console) == (
        "warning: the network demo-1-front stays, because containers of somebody else are in it; once they are gone,"
        " `docker network rm demo-1-front` removes it\n"
    )


@pytest.mark.parametrize("written", ["old-name-1\n", ""])
def test_containers_are_removed_by_the_name_that_their_run_had(
    folder: RunFolder, console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(compose.container_run, "connect", lambda: engine)
    folder.containers.write_text(written)
    assert remove_containers(tmp_path, folder, console) == ()
    assert engine.calls == [("remove_networks", written.strip() or project_id(tmp_path)), ("close", "")]
    assert not folder.containers.exists()
