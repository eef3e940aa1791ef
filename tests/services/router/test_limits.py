"""Gates let so many pass at once, keep so many waiting in order, and refuse the rest with an honest Retry-After."""

import asyncio

import pytest

from services.errors import ServiceError
from services.router.limits import Gate

pytestmark = pytest.mark.unit


def gate_of(concurrent: int, queue: int) -> Gate:
    return Gate("It", concurrent, queue, status=429, code="queue_full")


async def hold(gate: Gate, order: list[int], name: int, until: asyncio.Event) -> None:
    async with gate.turn():
        order.append(name)
        await until.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_without_a_number_all_pass() -> None:
    order: list[int] = []
    gate, until = gate_of(0, 0), asyncio.Event()
    tasks = [asyncio.create_task(hold(gate, order, name, until)) for name in range(50)]
    await settle()
    assert (order, gate.active, gate.queued) == (list(range(50)), 50, 0)
    until.set()
    await asyncio.gather(*tasks)
    assert gate.active == 0


async def test_the_others_wait_in_order() -> None:
    order: list[int] = []
    gate = gate_of(1, 10)
    events = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(gate, order, name, events[name])) for name in range(3)]
    await settle()
    assert (order, gate.queued) == ([0], 2)
    for name, event in enumerate(events):
        event.set()
        await tasks[name]
    assert (order, gate.active, gate.queued) == ([0, 1, 2], 0, 0)


async def test_the_queue_is_bounded() -> None:
    gate, until = gate_of(1, 1), asyncio.Event()
    tasks = [asyncio.create_task(hold(gate, [], name, until)) for name in range(2)]
    await settle()
    with pytest.raises(ServiceError) as refused:
        await hold(gate, [], 3, until)
    assert (refused.value.status, refused.value.code, refused.value.message) == (
        429,
        "queue_full",
        "It is busy, and 1 already wait.",
    )
    assert refused.value.retry_after_s == 2
    until.set()
    await asyncio.gather(*tasks)


async def test_who_leaves_gives_up_the_place() -> None:
    order: list[int] = []
    gate, until = gate_of(1, 5), asyncio.Event()
    tasks = [asyncio.create_task(hold(gate, order, name, until)) for name in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    assert gate.queued == 1
    until.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (order, gate.active, gate.queued) == ([0, 2], 0, 0)


async def test_a_turn_that_comes_while_its_owner_leaves_goes_on_to_the_next() -> None:
    order: list[int] = []
    gate = gate_of(1, 5)
    events = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(gate, order, name, events[name])) for name in range(3)]
    await settle()
    events[0].set()
    await tasks[0]
    tasks[1].cancel()
    events[2].set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (order[-1], gate.active, gate.queued) == (2, 0, 0)
