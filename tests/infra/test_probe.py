"""Whether a service still answers, told from a machine that is too busy to let it."""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from infra import probe
from infra.starvation import waited_s
from infra.state import ProcessId, this_process
from infra.unit import TcpAddress

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LIFE_INTERVAL_S", 0.01)
    monkeypatch.setattr(probe, "POLL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(probe, "BLIND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(probe, "waited_s", lambda process: process and 0.0)


@pytest.fixture
def mute() -> Iterator[TcpAddress]:
    """Accepts connections, and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield TcpAddress("127.0.0.1", listener.getsockname()[1])


async def silent_within(seconds: float, address: TcpAddress, process: ProcessId | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await probe.until_silent(address, "/readyz", process)
    except TimeoutError:
        return False
    return True


async def test_a_service_that_has_its_processor_and_says_nothing_hangs(mute: TcpAddress) -> None:
    assert await silent_within(5, mute, this_process())


async def test_a_service_that_waits_for_a_processor_does_not_hang(
    mute: TcpAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = itertools.count()
    monkeypatch.setattr(probe, "waited_s", lambda _: float(next(waits)))
    assert not await silent_within(1, mute, this_process())


async def test_a_service_that_cannot_be_seen_has_longer(mute: TcpAddress) -> None:
    assert not await silent_within(0.5, mute, None)
    assert await silent_within(5, mute, None)


async def test_misses_count_in_a_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers() -> AsyncIterator[type[Exception] | None]:
        for answer in (TimeoutError, TimeoutError, ConnectionRefusedError, TimeoutError, TimeoutError, None):
            yield answer
        while True:
            yield TimeoutError

    asked = 0
    said = answers()

    async def get(*_: object) -> None:
        nonlocal asked
        asked += 1
        if (answer := await anext(said)) is not None:
            raise answer

    monkeypatch.setattr("infra.net.get", get)
    assert await silent_within(5, TcpAddress("127.0.0.1", 1), this_process())
    assert asked == 9


def test_what_a_process_waited_counts_all_that_it_started() -> None:
    mine = waited_s(this_process())
    parents = waited_s(ProcessId.of(os.getppid()))
    assert mine is not None
    assert parents is not None
    assert parents >= mine
    assert waited_s(None) is None
    assert waited_s(ProcessId(2**30, "")) is None
