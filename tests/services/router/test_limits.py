"""Gates let so many pass at once, keep so many waiting in turn, and refuse the rest with an honest Retry-After."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.limits import Gate, address_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7/2001:db8::1", "10.0.0.7"),
        ("", ""),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7/me", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6/me", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("an:other/me", "an:other"),
    ],
)
def test_the_address_of_a_client_is_its_network_in_ipv6(client: str, address: str) -> None:
    assert address_of(client) == address


async def test_a_network_cannot_make_itself_many_addresses() -> None:
    """Else each of them had a place in a full queue, and its own turns."""
    async with crowd_at(gate_of(1, 8)) as crowd:
        await crowd.come(*(f"2001:db8::{number:x}" for number in range(20)))
        assert len(crowd.refused) == 20 - 1 - 8 - 1  # one at work, the queue, and an eighth of it for other clients
        await crowd.come("2001:db8:0:1::1", "10.0.0.7")
        assert len(crowd.refused) == 20 - 1 - 8 - 1 + 1
        await crowd.finish(3)
        assert crowd.clients[crowd.served[2]] == "2001:db8:0:1::1"


def gate_of(concurrent: int, queue: int) -> Gate:
    return Gate("It", concurrent, queue, status=429, code="queue_full")


async def hold(gate: Gate, order: list[int], name: int, until: asyncio.Event) -> None:
    async with gate.turn():
        order.append(name)
        await until.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Requests at a gate, by number; `served` lists those whose turn came, `refused` those that were sent away."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.clients: list[str] = []
        self.served: list[int] = []
        self.refused: list[int] = []
        self._at_work: dict[int, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, *clients: str, patient: bool = False) -> None:
        for client in clients:
            self._tasks.append(asyncio.create_task(self._ask(len(self._tasks), client, patient)))
            self.clients.append(client)
        await settle()

    async def _ask(self, number: int, client: str, patient: bool) -> None:
        try:
            async with self.gate.turn(client, patient):
                self.served.append(number)
                self._at_work[number] = done = asyncio.Event()
                try:
                    await done.wait()
                finally:
                    del self._at_work[number]
        except ServiceError:
            self.refused.append(number)

    async def finish(self, count: int = 1) -> None:
        """End the requests that have worked longest, one after the other."""
        for _ in range(count):
            next(iter(self._at_work.values())).set()
            await settle()

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()
        await settle()

    @property
    def at_work(self) -> int:
        return len(self._at_work)

    @property
    def waiting(self) -> list[int]:
        return [number for number, task in enumerate(self._tasks) if not task.done() and number not in self._at_work]

    def order(self) -> str:
        """The clients in the order in which they were served."""
        return "".join(self.clients[number] for number in self.served)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def crowd_at(gate: Gate) -> AsyncIterator[Crowd]:
    crowd = Crowd(gate)
    try:
        yield crowd
    finally:
        await crowd.end()
    assert (gate.active, gate.queued) == (0, 0)


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


async def test_clients_take_turns() -> None:
    async with crowd_at(gate_of(1, 20)) as crowd:
        await crowd.come(*"aaaaa", *"bb", "c")
        await crowd.finish(7)
        assert crowd.order() == "aabcabaa"
        assert [number for number in crowd.served if crowd.clients[number] == "a"] == [0, 1, 2, 3, 4]


async def test_a_flood_leaves_a_place_for_each_other_client_up_to_a_quarter_more() -> None:
    async with crowd_at(gate_of(1, 8)) as crowd:
        await crowd.come(*"aaaaaaaaaaaa")
        assert len(crowd.refused) == 12 - 1 - 8
        await crowd.come("b", "b", "c", "d")
        assert [crowd.clients[number] for number in crowd.refused[3:]] == ["b", "d"]
        await crowd.finish(4)
        assert crowd.order() == "aabca"


async def test_addresses_take_turns_and_so_do_the_sessions_of_each() -> None:
    async with crowd_at(gate_of(1, 20)) as crowd:
        await crowd.come("a/1", "a/1", "a/1", "a/2", "a/3", "b", "b/1")
        await crowd.finish(6)
        assert [crowd.clients[number] for number in crowd.served] == ["a/1", "a/1", "b", "a/2", "b/1", "a/3", "a/1"]


async def test_an_address_that_makes_itself_many_sessions_leaves_places_for_others() -> None:
    async with crowd_at(gate_of(1, 16)) as crowd:
        await crowd.come(*(f"a/{number}" for number in range(40)))
        assert len(crowd.refused) == 40 - 1 - 16 - 2
        await crowd.come("b", "c", "d")
        assert [crowd.clients[number] for number in crowd.refused[-1:]] == ["d"]


async def test_the_patient_are_never_refused_and_take_no_ones_place() -> None:
    async with crowd_at(gate_of(1, 1)) as crowd:
        await crowd.come(*"aaaa", patient=True)
        await crowd.come("b", "b")
        assert (crowd.gate.queued, crowd.refused) == (4, [5])
        await crowd.finish(4)
        assert crowd.order() == "aabaa"


async def test_what_a_client_waits_for_does_not_stand_behind_what_it_has_in_the_background() -> None:
    async with crowd_at(gate_of(1, 4)) as crowd:
        await crowd.come(*"aaaa", patient=True)
        await crowd.come("a", "b")
        await crowd.finish(5)
        assert crowd.served == [0, 1, 5, 4, 2, 3]


async def test_who_waits_past_a_deadline_is_never_served() -> None:
    async with crowd_at(gate_of(1, 4)) as crowd:
        await crowd.come("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), crowd.gate.turn("b"):
                pytest.fail("its turn came")
        assert crowd.gate.queued == 0


async def test_check_says_what_a_turn_would_say() -> None:
    gate = gate_of(1, 4)
    async with crowd_at(gate) as crowd:
        await crowd.come(*"aaaaa")
        with pytest.raises(ServiceError, match="busy, and 4 already wait"):
            gate.check("a")
        gate.check("b")


async def test_waiting_is_told() -> None:
    waits: list[float] = []
    gate = Gate("It", 1, 5, status=429, code="queue_full", on_waited=waits.append)
    async with crowd_at(gate) as crowd:
        await crowd.come("a", "a")
        assert len(waits) == 1
        await asyncio.sleep(0.02)
        await crowd.finish()
        assert waits[0] < 0.02 <= waits[1] < 1


_ASK = st.tuples(st.sampled_from("abc"), st.sampled_from([False, False, True]))
_STEP = st.one_of(_ASK, st.just("finish"), st.integers(0, 60))
"""Somebody comes, the oldest at work ends, or the request of this number is cancelled."""


@given(concurrent=st.integers(1, 3), queue=st.integers(0, 8), steps=st.lists(_STEP, max_size=60))
def test_no_place_is_lost_and_nobody_starves(
    concurrent: int, queue: int, steps: list[tuple[str, bool] | str | int]
) -> None:
    async def play() -> None:
        async with crowd_at(gate_of(concurrent, queue)) as crowd:
            patient: set[int] = set()
            passed_over: dict[int, int] = {}
            for step in steps:
                served = len(crowd.served)
                if isinstance(step, tuple):
                    if step[1]:
                        patient.add(len(crowd.clients))
                    await crowd.come(step[0], patient=step[1])
                elif isinstance(step, int):
                    if step < len(crowd.clients):
                        await crowd.cancel(step)
                elif crowd.at_work:
                    await crowd.finish()
                waiting = crowd.waiting
                assert crowd.gate.active == crowd.at_work <= concurrent
                assert crowd.gate.queued == len(waiting)
                assert not waiting or crowd.at_work == concurrent
                assert len(set(waiting) - patient) <= queue + queue // 4
                assert not patient & set(crowd.refused)
                lines = [(client, number in patient) for number, client in enumerate(crowd.clients)]
                firsts = {lines[number]: number for number in reversed(waiting)}
                for number in crowd.served[served:]:
                    assert firsts.get(lines[number], number + 1) > number
                for first in firsts.values():
                    passed_over[first] = passed_over.get(first, 0) + len(crowd.served) - served
                    assert passed_over[first] <= 6  # one turn of each other line, and the one that just came

    asyncio.run(play())
