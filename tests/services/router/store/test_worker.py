"""Many orders share one transaction, each gets its own answer, and all that was ordered is done before the end."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from services.router.store.database import Row, Statement, StoreUnavailable
from services.router.store.worker import Worker

pytestmark = pytest.mark.unit


class Slow:
    """Echoes parameters. Its first batch waits until it may go on; `bad` cannot be done, nor what comes with it."""

    durable = True
    skip_locked = ""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_go_on = threading.Event()
        self.closed = False

    def execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self.may_go_on.wait()
        self.batches.append(len(statements))
        if any(statement.sql == "bad" for statement in statements):
            raise StoreUnavailable("bad")
        return [[(statement.sql,)] for statement in statements]

    def reader(self) -> "Slow":
        return self

    def shrink(self) -> None: ...

    def close(self) -> None:
        self.closed = True


async def do(worker: Worker, *words: str) -> list[str]:
    return await worker.do(
        lambda: [Statement(word, {}) for word in words], lambda rows: [group[0][0] for group in rows]
    )


async def test_what_is_ordered_meanwhile_is_one_batch() -> None:
    database = Slow()
    worker = Worker(database, "w")
    worker.start()
    orders = [asyncio.create_task(do(worker, str(index), "and more")) for index in range(10)]
    await asyncio.sleep(0)
    database.may_go_on.set()
    assert await asyncio.gather(*orders) == [[str(index), "and more"] for index in range(10)]
    await worker.stop()
    assert sum(database.batches) == 20
    assert len(database.batches) <= 2


async def test_an_order_that_fails_fails_alone() -> None:
    database = Slow()
    database.may_go_on.set()
    worker = Worker(database, "w")
    worker.start()
    found = await asyncio.gather(*(do(worker, word) for word in ("a", "bad", "c")), return_exceptions=True)
    assert (found[0], found[2]) == (["a"], ["c"])
    assert isinstance(found[1], StoreUnavailable)
    await worker.stop()


async def test_a_database_that_is_away_is_not_asked_for_each_order_that_waits() -> None:
    database = Slow()
    worker = Worker(database, "w")
    worker.start()
    orders = [asyncio.create_task(do(worker, "bad")) for _ in range(20)]
    await asyncio.sleep(0)
    database.may_go_on.set()
    found = await asyncio.gather(*orders, return_exceptions=True)
    assert {type(answer) for answer in found} == {StoreUnavailable}
    assert len(database.batches) <= 6
    await worker.stop()


async def test_what_was_ordered_before_the_end_is_done_even_when_nobody_waits() -> None:
    database = Slow()
    worker = Worker(database, "w")
    worker.start()
    orders = [asyncio.create_task(do(worker, str(index))) for index in range(5)]
    await asyncio.sleep(0)
    orders[0].cancel()
    stopping = asyncio.create_task(worker.stop())
    database.may_go_on.set()
    await stopping
    assert await asyncio.gather(*orders[1:]) == [["1"], ["2"], ["3"], ["4"]]
    assert sum(database.batches) == 5
    assert database.closed
