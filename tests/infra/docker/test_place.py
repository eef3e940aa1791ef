"""The place of a container, over an engine that does not do what it should."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.docker.runtime import ContainerPlace, DockerRuntime
from infra.errors import ExitCode, PassingError
from infra.failure import Failure
from infra.folder import RunFolder
from infra.process import Children
from infra.runtime import Advance
from infra.service import Service, Surroundings
from infra.unit import TcpAddress, Unit
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, FakeEngine

pytestmark = pytest.mark.server

UNIT = Unit(
    name="chat", kind="task", module="", settings="{}", address=TcpAddress("task-chat", 3000), ready_path="/readyz"
)


def place_of(engine: FakeEngine, folder: Path, *, running: str | None = None, **changes: object) -> ContainerPlace:
    container = replace(CHAT, **changes)  # type: ignore[arg-type]  # any field
    runtime = DockerRuntime(engine, PROJECT, {"chat": container}, {"chat": running} if running else {})
    return runtime.place(UNIT, around(runtime, folder, []))


def around(runtime: DockerRuntime, folder: Path, lines: list[str]) -> Surroundings:
    children = Children(folder)
    children.close()
    return Surroundings(RunFolder(folder), runtime, children, lambda _, line: lines.append(line), lambda _: None)


@pytest.mark.parametrize("method", ["create", "start"])
async def test_a_container_that_came_too_late_is_not_in_the_way_of_the_next(tmp_path: Path, method: str) -> None:
    engine = FakeEngine()
    engine.refusals = {method: [OUTAGE], "remove": [OUTAGE] if method == "start" else []}
    place = place_of(engine, tmp_path)
    with pytest.raises(PassingError) as caught:
        await place.start(lambda _: None)
    assert caught.value.message == OUTAGE.message
    assert [box.running for box in engine.boxes.values()] == [False]
    life = await place.start(lambda _: None)
    assert [box.running for box in engine.boxes.values()] == [True]
    life.kill()
    await life.wait()


async def test_a_service_whose_engine_does_not_come_back_fails_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.restart.FIRST_DELAY_S", 0.001)
    engine = FakeEngine()
    engine.refusals = {"create": [OUTAGE] * 5}
    lines: list[str] = []
    runtime = DockerRuntime(engine, PROJECT, {"chat": CHAT}, {})
    service = Service(UNIT, None, around(runtime, tmp_path, lines))
    async with asyncio.timeout(10):
        await service.run()
    message = "the Docker engine cannot be reached"
    assert service.failure == Failure(f"{message}, 5 times in a row", "wait", ExitCode.ENVIRONMENT)
    assert lines[0] == f"[model-compose] {message}; starting it again in 0.001 s"


async def test_a_port_that_is_taken_between_two_lives_may_come_free(tmp_path: Path) -> None:
    engine = FakeEngine(address="unix:///engine.sock")
    with serving() as listener:
        published = TcpAddress("127.0.0.1", listener.getsockname()[1])
        place = place_of(engine, tmp_path, published=published)
        with pytest.raises(PassingError, match="is taken by"):
            await place.start(lambda _: None)


def serving() -> socket.socket:
    """Accepts, and answers nobody."""
    return socket.create_server(("127.0.0.1", 0))


async def test_an_inspection_that_fails_once_changes_nothing(tmp_path: Path) -> None:
    engine = FakeEngine(address="unix:///engine.sock")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    place = place_of(engine, tmp_path, port=server.sockets[0].getsockname()[1])
    life = await place.start(lambda _: None)
    engine.boxes["id1"].addresses = ("127.0.0.1",)
    engine.refusals = {"state": [OUTAGE] * 3}
    async with asyncio.timeout(10):
        await place.until_ready("/readyz", lambda _: None)
    server.close()
    await server.wait_closed()
    life.kill()
    await life.wait()


async def test_progress_is_told_by_the_service_itself_once_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.docker.runtime._LOOK_INTERVAL_S", 0.01)
    engine = FakeEngine(address="unix:///engine.sock")
    place = place_of(engine, tmp_path)
    life = await place.start(lambda _: None)
    box = engine.boxes["id1"]
    box.health_output = '{"stage": "checked"}'
    said: list[str] = []

    async def until_ready(_address: object, _path: str, advance: Advance) -> None:
        advance({"stage": "itself"})
        await asyncio.sleep(0.2)

    monkeypatch.setattr("infra.probe.until_ready", until_ready)

    def advance(message: Mapping[str, Any]) -> None:
        said.append(message["stage"])
        if said == ["checked"]:
            box.addresses = ("127.0.0.1",)

    async with asyncio.timeout(10):
        await place.until_ready("/readyz", advance)
    assert said[said.index("itself") :] == ["itself"]
    life.kill()
    await life.wait()


async def test_an_address_that_never_answered_says_nothing_about_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.docker.runtime._LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr("infra.probe.LIFE_INTERVAL_S", 0.01)
    monkeypatch.setattr("infra.probe.POLL_TIMEOUT_S", 0.01)
    monkeypatch.setattr("infra.probe.BLIND_TIMEOUT_S", 0.01)
    engine = FakeEngine(address="unix:///engine.sock")
    with serving() as listener:
        place = place_of(engine, tmp_path, port=listener.getsockname()[1])
        life = await place.start(lambda _: None)
        engine.boxes["id1"].addresses = ("127.0.0.1",)
        engine.boxes["id1"].health = "healthy"
        async with asyncio.timeout(10):
            await place.until_ready("/readyz", lambda _: None)
        watch = asyncio.create_task(place.until_silent("/readyz"))
        done, _ = await asyncio.wait({watch}, timeout=0.3)
        assert not done
        engine.boxes["id1"].health = "unhealthy"
        async with asyncio.timeout(10):
            await watch
    life.kill()
    await life.wait()
