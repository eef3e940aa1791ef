"""The place of a container, over an engine that does not do what it should."""

import errno
from pathlib import Path

import pytest

from infra.docker.runtime import ContainerPlace, DockerRuntime
from infra.folder import RunFolder
from infra.process import Children
from infra.service import Surroundings
from infra.unit import TcpAddress, Unit
from tests.infra.docker.fakes import CHAT, OUTAGE, PROJECT, FakeEngine

pytestmark = pytest.mark.server


def place_of(engine: FakeEngine, folder: Path, running: str | None = None) -> ContainerPlace:
    runtime = DockerRuntime(engine, PROJECT, {"chat": CHAT}, {"chat": running} if running else {})
    unit = Unit(
        name="chat", kind="task", module="", settings="{}", address=TcpAddress("task-chat", 3000), ready_path="/readyz"
    )
    children = Children(folder)
    children.close()
    around = Surroundings(RunFolder(folder), runtime, children, lambda *_: None, lambda _: None)
    return runtime.place(unit, around)


@pytest.mark.parametrize("method", ["create", "start"])
async def test_a_container_that_came_too_late_is_not_in_the_way_of_the_next(tmp_path: Path, method: str) -> None:
    engine = FakeEngine()
    engine.refusals = {method: [OUTAGE], "remove": [OUTAGE] if method == "start" else []}
    place = place_of(engine, tmp_path)
    with pytest.raises(ConnectionError) as caught:
        await place.start(lambda _: None)
    assert caught.value.errno == errno.ECONNREFUSED
    assert [box.running for box in engine.boxes.values()] == [False]
    life = await place.start(lambda _: None)
    assert [box.running for box in engine.boxes.values()] == [True]
    life.kill()
    await life.wait()
