"""The place of a container, over an engine that does not do what it should."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.docker.errors import EngineError
from infra.docker.runtime import ContainerPlace, DockerRuntime
from infra.errors import ExitCode, PassingError
from infra.failure import Failure
from infra.folder import RunFolder
from infra.process import Children
from infra.service import Service, Surroundings
from infra.unit import TcpAddress, Unit
from tests.conformance.folder import wait_until
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, Box, FakeEngine

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
    monkeypatch.setattr("infra.restart.PATIENCE_S", 0.2)
    engine = FakeEngine()
    engine.refusals = {"create": [OUTAGE] * 1000}
    lines: list[str] = []
    runtime = DockerRuntime(engine, PROJECT, {"chat": CHAT}, {})
    told: list[tuple[str, str | None]] = []
    surroundings = replace(
        around(runtime, tmp_path, lines), on_change=lambda state: told.append((state.state, state.last_error))
    )
    service = Service(UNIT, None, surroundings)
    async with asyncio.timeout(10):
        await service.run()
    message = "the Docker engine cannot be reached"
    assert service.failure == Failure(f"{message}, for 120 s", "wait", ExitCode.ENVIRONMENT)
    assert list(dict.fromkeys(told)) == [
        ("waiting", None),
        ("starting", None),
        ("starting", message),
        ("failed", f"{message}, for 120 s"),
    ]
    assert lines == [
        f"[model-compose] {message}; chat is started once that is over",
        f"[model-compose] {message}, for 120 s",
    ]


async def test_a_port_that_is_taken_between_two_lives_may_come_free(tmp_path: Path) -> None:
    engine = FakeEngine(address="unix:///engine.sock")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        published = TcpAddress("127.0.0.1", listener.getsockname()[1])
        place = place_of(engine, tmp_path, published=published)
        with pytest.raises(PassingError, match="is taken by"):
            await place.start(lambda _: None)


async def test_a_container_is_asked_from_within_until_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.docker.runtime._LOOK_INTERVAL_S", 0.01)
    engine = FakeEngine()
    place = place_of(engine, tmp_path)
    life = await place.start(lambda _: None)
    engine.refusals = {"run": [OUTAGE] * 3}
    engine.boxes["id1"].asked = (1, '{"stage": "loading"}')
    said: list[Mapping[str, Any]] = []

    def advance(message: Mapping[str, Any]) -> None:
        said.append(message)
        engine.boxes["id1"].asked = (1, "no JSON") if len(said) == 1 else (0, "{}")
        asyncio.get_running_loop().call_later(0.1, lambda: advance({}))

    async with asyncio.timeout(10):
        await place.until_ready(advance)
    assert said[0] == {"stage": "loading"}
    place.close()
    life.kill()
    await life.wait()


class Checks:
    """What the engine's checks of a container say, one after the other, and how long it waited for a processor."""

    def __init__(self, box: Box, answers: list[str], waited_s: float | None) -> None:
        self.made = 0
        self._box = box
        self._answers = answers
        self._waited_s = waited_s

    def waited_s(self, _: object) -> float | None:
        """Each look finds one more check."""
        if self.made < len(self._answers):
            self._box.checked_at, self._box.answer = str(self.made), self._answers[self.made]
            self.made += 1
        return self._waited_s and self.made * self._waited_s


HUNG = ""
TOO_LATE = "Health check exceeded timeout (20s)"
FINE = "{}"


@pytest.mark.parametrize(
    ("answers", "waited_s", "needed"),
    [
        ([FINE, HUNG, TOO_LATE, FINE, HUNG, TOO_LATE, HUNG, FINE], 1e-9, 7),
        ([HUNG] * 20, 1e-9, 3),
        ([HUNG] * 20, None, 4),
        ([HUNG] * 20, 100.0, None),
    ],
    ids=["in a row", "hung", "cannot be seen waiting", "starved"],
)
async def test_a_container_is_silent_when_it_leaves_checks_unanswered_and_is_not_starved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], waited_s: float | None, needed: int | None
) -> None:
    monkeypatch.setattr("infra.probe.LIFE_INTERVAL_S", 0.01)
    engine = FakeEngine()
    place = place_of(engine, tmp_path)
    life = await place.start(lambda _: None)
    checks = Checks(engine.boxes["id1"], answers, waited_s)
    monkeypatch.setattr("infra.docker.runtime.waited_s", checks.waited_s)
    silent = asyncio.create_task(place.until_silent())
    done, _ = await asyncio.wait({silent}, timeout=5 if needed else 0.5)
    assert bool(done) == (needed is not None)
    assert checks.made - 1 == (needed or 19)
    silent.cancel()
    place.close()
    life.kill()
    await life.wait()


async def test_what_an_engine_refuses_may_pass_once_it_has_done_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    refusals = [EngineError("the Docker engine could not make it", "its log may say more") for _ in range(2)]
    engine.refusals = {"create": refusals[:1]}
    place = place_of(engine, tmp_path)
    with pytest.raises(EngineError):
        await place.start(lambda _: None)
    life = await place.start(lambda _: None)
    life.kill()
    await life.wait()
    engine.refusals = {"create": refusals[1:]}
    with pytest.raises(PassingError, match="could not make it"):
        await place.start(lambda _: None)
    place.close()


@pytest.mark.parametrize("taken_over", [True, False])
async def test_a_service_that_was_taken_over_may_have_requests_before_it_is_asked(
    tmp_path: Path, taken_over: bool
) -> None:
    engine = FakeEngine()
    running = {}
    if taken_over:
        running["chat"] = engine.add(CHAT.config(PROJECT), CHAT.name(PROJECT))
        engine.boxes[running["chat"]].running = True
    runtime = DockerRuntime(engine, PROJECT, {"chat": CHAT}, running)
    service = Service(UNIT, None, around(runtime, tmp_path, []))
    life = asyncio.create_task(service.run())
    async with asyncio.timeout(10):
        await asyncio.to_thread(wait_until, lambda: ("output", "id1") in engine.calls)
        assert service.was_ready is taken_over
        service.terminate()
        await life


async def test_no_container_is_made_that_nobody_can_follow(tmp_path: Path) -> None:
    engine = FakeEngine()
    place = place_of(engine, tmp_path)
    (tmp_path / "logs").write_text("")
    with pytest.raises(OSError, match="exists"):
        await place.start(lambda _: None)
    assert engine.boxes == {}


async def test_a_container_that_cannot_be_taken_over_at_once_is_taken_over_later(tmp_path: Path) -> None:
    engine = FakeEngine()
    id_ = engine.add(CHAT.config(PROJECT), CHAT.name(PROJECT))
    engine.boxes[id_].running = True
    place = place_of(engine, tmp_path, running=id_)
    engine.refusals = {"state": [OUTAGE]}
    with pytest.raises(PassingError):
        await place.start(lambda _: None)
    life = await place.start(lambda _: None)
    assert [id_] == list(engine.boxes)
    life.kill()
    await life.wait()


async def test_a_question_to_an_engine_that_hangs_does_not_keep_the_program_from_its_end(tmp_path: Path) -> None:
    engine = FakeEngine()
    place = place_of(engine, tmp_path)
    life = await place.start(lambda _: None)
    engine.answers.clear()
    asking = asyncio.create_task(place.until_ready(lambda _: None))
    async with asyncio.timeout(10):
        await asyncio.to_thread(wait_until, lambda: ("run", "id1") in engine.calls)
    assert all(thread.daemon for thread in engine.waiting)
    asking.cancel()
    engine.answers.set()
    life.kill()
    await life.wait()
