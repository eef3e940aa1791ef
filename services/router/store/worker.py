"""A thread that does what a database is asked for, many orders in one transaction: one sync to the disk for all."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.router.store.database import Database, Row, Statement, StoreUnavailable

T = TypeVar("T")

_MOST_AT_ONCE = 256
"""Orders in one transaction: enough that a sync is shared by all that wait, too few to keep the first one waiting."""


@dataclass(frozen=True, slots=True)
class _Order:
    build: Callable[[], Sequence[Statement]]
    read: Callable[[list[list[Row]]], Any]
    answer: "asyncio.Future[Any]"


class Worker:
    """Owns a database from its start to its end. To be used from one event loop."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Do what has been ordered, then close the database."""
        if self._thread.is_alive():
            self._orders.put(None)
            await asyncio.to_thread(self._thread.join)
        self._database.close()

    async def do(self, build: Callable[[], Sequence[Statement]], read: Callable[[list[list[Row]]], T]) -> T:
        """What `read` makes of the rows of the statements, once they are kept. Raises StoreUnavailable.

        Both functions are called in the thread, because encoding and decoding large values takes its time.
        """
        answer: asyncio.Future[T] = self._loop.create_future()
        self._orders.put(_Order(build, read, answer))
        return await answer

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            orders = [order]
            while len(orders) < _MOST_AT_ONCE and not self._orders.empty():
                following = self._orders.get()
                if following is None:
                    self._orders.put(None)
                    break
                orders.append(following)
            answers = self._answers(orders)
            self._loop.call_soon_threadsafe(_deliver, orders, answers)

    def _answers(self, orders: Sequence[_Order]) -> list[Any]:
        """What each order gave, or its exception. An order that cannot be done does not take the others with it."""
        try:
            statements = [order.build() for order in orders]
            rows = iter(self._database.execute([statement for group in statements for statement in group]))
            return [order.read([next(rows) for _ in group]) for order, group in zip(orders, statements, strict=True)]
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait get it
            return [error] if len(orders) == 1 else self._one_by_one(orders)

    def _one_by_one(self, orders: Sequence[_Order]) -> list[Any]:
        """The same, each in a transaction of its own, until two in a row show that it is not the orders that fail."""
        answers: list[Any] = []
        for order in orders:
            if len(answers) > 1 and all(isinstance(answer, StoreUnavailable) for answer in answers[-2:]):
                answers.append(answers[-1])
            else:
                answers += self._answers([order])
        return answers


def _deliver(orders: Sequence[_Order], answers: Sequence[Any]) -> None:
    for order, answer in zip(orders, answers, strict=True):
        if order.answer.done():
            continue  # who asked has gone
        if isinstance(answer, Exception):
            order.answer.set_exception(answer)
        else:
            order.answer.set_result(answer)
