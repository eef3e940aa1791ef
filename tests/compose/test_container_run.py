"""Runs in containers from the command's side, over an engine in memory."""

import asyncio
import io
import os
import shutil
import threading
from pathlib import Path

import pytest

import compose.commands.container_run
from compose.commands.container_run import (
    ContainerRun,
    container_runtime,
    plan_containers,
    remove_containers,
    take_over,
)
from compose.models import observed
from compose.output import Console
from compose.plan import make_plan
from infra import net
from infra.docker.container import project_id
from infra.docker.engine import Found
from infra.errors import UserError
from infra.folder import RunFolder
from infra.net import make_socket_directory
from infra.unit import TcpAddress, UnixAddress
from tests.compose.loading import load, run_state
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, FakeEngine

pytestmark = pytest.mark.unit

FILE = """
controller: {port: 9000, webui: {port: 9001}}
component: {id: chat, type: model, task: chat-completion, model: ./model}
"""
IMAGES = {"chat": "sha256:1", "router": "sha256:2", "page": "sha256:3"}


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

    monkeypatch.setattr(compose.commands.container_run, "make_room", make_room)

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
    monkeypatch.setattr(compose.commands.container_run, "connect", lambda: engine)
    folder.containers.write_text(written)
    assert remove_containers(tmp_path, folder, console) == ()
    assert engine.calls == [("remove_networks", written.strip() or project_id(tmp_path)), ("close", "")]
    assert not folder.containers.exists()


async def test_an_engine_that_is_away_at_the_end_takes_nothing_from_what_was_told_before(
    folder: RunFolder, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()

    def away(_: str) -> list[Found]:
        raise OUTAGE

    async with container_runtime(ContainerRun(engine, PROJECT, (CHAT,), ()), folder, console):
        monkeypatch.setattr(engine, "containers", away)
    assert folder.containers.read_text() == f"{PROJECT}\n"


def test_an_up_that_does_not_answer_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = make_socket_directory()
    with net.listen("control", UnixAddress(str(sockets / "control"))):
        monkeypatch.setattr(compose.commands.container_run, "_RELEASE_S", 0.1)
        with pytest.raises(UserError) as caught:
            take_over(run_state("docker", sockets))
    shutil.rmtree(sockets)
    assert caught.value.message == (
        f"the `up` that runs already (process {os.getpid()}) does not let go of its containers"
    )
    assert caught.value.hint == "`model-compose down` ends it and them"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("unix:///engine.sock", ("http://127.0.0.1:9000/api", "http://127.0.0.1:9001", False, "127.0.0.1")),
        ("tcp://127.0.0.1:2375", ("http://127.0.0.1:9000/api", "http://127.0.0.1:9001", False, "127.0.0.1")),
        ("ssh://me@box", ("http://box:9000/api", "http://box:9001", True, "box")),
    ],
)
def test_addresses_are_those_of_the_machine_of_the_engine(
    tmp_path: Path, address: str, shown: tuple[str, str, bool, str]
) -> None:
    plan, run = plan_containers(load(tmp_path, FILE), IMAGES, FakeEngine(address=address))
    router = plan.units[1].address
    assert isinstance(router, TcpAddress)
    assert (plan.api_url, plan.page_url, plan.elsewhere, router.host) == shown
    assert [container.published for container in run.containers[1:]] == [
        TcpAddress("127.0.0.1", 9000),
        TcpAddress("127.0.0.1", 9001),
    ]


def test_the_router_alone_is_told_where_traces_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer s3cr3t")
    loaded = load(tmp_path, FILE)
    containers = plan_containers(loaded, IMAGES, FakeEngine())[0].units
    processes = make_plan(loaded, observed({"chat": None}, tmp_path, tmp_path)).units
    assert [
        [unit.name for unit in units if "OTEL_EXPORTER_OTLP_HEADERS" in unit.environment]
        for units in (containers, processes)
    ] == [["router"], ["router"]]
