"""The life of a container, over an engine that does not do what it should."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.docker.errors import EngineError
from infra.docker.life import ContainerLife
from infra.docker.reading import Reading
from tests.conformance.folder import wait_until
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, FakeEngine

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.docker.life._RETRY_S", 0.01)
    monkeypatch.setattr("infra.docker.life._KILL_S", 0.1)


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path / "chat.read", resume=False)


def container_of(engine: FakeEngine, *printed: bytes | EngineError, running: bool = False, exit_code: int = 0) -> str:
    id_ = engine.add(CHAT.config(PROJECT), CHAT.name(PROJECT))
    box = engine.boxes[id_]
    box.printed, box.running, box.exit_code = list(printed), running, exit_code
    return id_


async def test_the_end_of_a_container_whose_output_cannot_be_read_is_seen(reading: Reading) -> None:
    engine = FakeEngine()
    id_ = container_of(engine, b"1 one\n", exit_code=3)
    engine.refusals = {"output": [OUTAGE] * 1000}
    lines: list[str] = []
    async with asyncio.timeout(10):
        assert await ContainerLife(engine, id_, None, lines.append, reading).wait() == 3
    assert engine.boxes == {}


async def test_a_container_is_followed_over_an_outage(reading: Reading) -> None:
    engine = FakeEngine()
    stamps = [f"2026-01-01T00:00:0{second}.000000001Z ".encode() for second in range(4)]
    printed = (stamps[0] + b"one\n", stamps[1] + b"two\n" + stamps[2] + b"th", OUTAGE, b"ree")
    id_ = container_of(engine, *printed, exit_code=78)
    engine.refusals = {"state": [OUTAGE] * 3, "output": [OUTAGE] * 2}
    lines: list[str] = []
    async with asyncio.timeout(10):
        assert await ContainerLife(engine, id_, None, lines.append, reading).wait() == 78
    assert lines == [
        "[model-compose] the Docker engine cannot be reached; it is asked again until it answers",
        "one",
        "two",
        "three",
    ]
    assert engine.asked_since == [None, 1767225600.999]


async def test_a_killed_container_of_an_engine_that_is_gone_has_ended(reading: Reading) -> None:
    engine = FakeEngine()
    id_ = container_of(engine, running=True)
    engine.refusals = {method: [OUTAGE] * 1000 for method in ("state", "output", "SIGKILL", "remove")}
    life = ContainerLife(engine, id_, None, lambda _: None, reading)
    life.kill()
    async with asyncio.timeout(10):
        assert await life.wait() == -signal.SIGKILL


async def test_a_killed_container_of_an_engine_that_hangs_has_ended(reading: Reading) -> None:
    engine = FakeEngine()
    engine.answers.clear()
    id_ = container_of(engine, b"1 late\n", running=True)
    lines: list[str] = []
    life = ContainerLife(engine, id_, None, lines.append, reading)
    life.kill()
    async with asyncio.timeout(10):
        assert await life.wait() == -signal.SIGKILL
        engine.answers.set()
        await asyncio.to_thread(wait_until, lambda: not engine.boxes)
    assert lines == []


@pytest.mark.parametrize(
    ("removed", "out_of_memory", "killer"),
    [(True, False, "remover"), (False, True, "system"), (False, False, "anybody")],
)
async def test_who_killed_a_container_is_told_where_the_engine_knows_it(
    reading: Reading, removed: bool, out_of_memory: bool, killer: str
) -> None:
    engine = FakeEngine()
    id_ = container_of(engine, exit_code=137)
    engine.boxes[id_].out_of_memory = out_of_memory

    def output(*_: object, **__: object) -> Iterator[bytes]:
        if removed:
            engine.boxes.clear()
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "output", output)
        life = ContainerLife(engine, id_, None, lambda _: None, reading)
        async with asyncio.timeout(10):
            assert await life.wait() == -signal.SIGKILL
    assert life.killer == killer


async def test_a_flood_waits_in_the_engine(reading: Reading) -> None:
    loop_thread = threading.get_ident()
    read, taken, ahead = 0, 0.0, 0.0

    class Flood(FakeEngine):
        def output(self, container: str, since: float | None, *, stamped: bool = False) -> Iterator[bytes]:
            nonlocal read, ahead
            for piece in range(200):
                read += 1
                ahead = max(ahead, read - taken)
                yield b"".join(b"%04d.%d line\n" % (piece, line) for line in range(10))

    def on_line(_: str) -> None:
        nonlocal taken
        assert threading.get_ident() == loop_thread
        taken += 0.1  # of a piece

    engine = Flood()
    id_ = container_of(engine)
    async with asyncio.timeout(10):
        await ContainerLife(engine, id_, None, on_line, reading).wait()
    assert read == round(taken) == 200
    assert ahead < 2
