"""The life of a container, over an engine that does not do what it should."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from infra.docker.life import ContainerLife
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, FakeEngine

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.docker.life._RETRY_S", 0.01)


def container_of(engine: FakeEngine, *printed: bytes, running: bool = False, exit_code: int = 0) -> str:
    id_ = engine.add(CHAT.config(PROJECT), CHAT.name(PROJECT))
    box = engine.boxes[id_]
    box.printed, box.running, box.exit_code = list(printed), running, exit_code
    return id_


async def test_the_end_of_a_container_whose_output_cannot_be_read_is_seen() -> None:
    engine = FakeEngine()
    id_ = container_of(engine, b"one\n", exit_code=3)
    engine.refusals = {"output": [OUTAGE] * 1000}
    lines: list[str] = []
    async with asyncio.timeout(10):
        assert await ContainerLife(engine, id_, None, lines.append, None).wait() == 3
    assert engine.boxes == {}


async def test_a_container_is_followed_over_an_outage() -> None:
    engine = FakeEngine()
    id_ = container_of(engine, b"one\nt", b"wo", exit_code=78)
    engine.refusals = {"state": [OUTAGE] * 3, "output": [OUTAGE] * 2}
    lines: list[str] = []
    async with asyncio.timeout(10):
        assert await ContainerLife(engine, id_, None, lines.append, None).wait() == 78
    assert lines[:2] == ["one", "two"]


async def test_a_killed_container_of_an_engine_that_is_gone_has_ended() -> None:
    engine = FakeEngine()
    id_ = container_of(engine, running=True)
    engine.refusals = {method: [OUTAGE] * 1000 for method in ("state", "output", "SIGKILL", "remove")}
    life = ContainerLife(engine, id_, None, lambda _: None, None)
    life.kill()
    async with asyncio.timeout(10):
        assert await life.wait() == -signal.SIGKILL


async def test_a_flood_waits_in_the_engine() -> None:
    engine = FakeEngine()
    id_ = container_of(engine)
    loop_thread = threading.get_ident()
    read, taken, ahead = 0, 0.0, 0.0

    def output(container: str, since: float | None) -> Iterator[bytes]:
        nonlocal read, ahead
        for _ in range(200):
            read += 1
            ahead = max(ahead, read - taken)
            yield b"line\n" * 10

    def on_line(_: str) -> None:
        nonlocal taken
        assert threading.get_ident() == loop_thread
        taken += 0.1  # of a piece

    engine.output = output  # type: ignore[method-assign]  # as much of it as a life reads
    async with asyncio.timeout(10):
        await ContainerLife(engine, id_, None, on_line, None).wait()
    assert read == round(taken) == 200
    assert ahead < 2
