"""The repeats, items or iterations of one visit of a job: each is made once, also over attempts and restarts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from services.router.execution.tally import Tally
from services.router.journal import JobKey, Journal


class Pieces:
    """place, visit: of the job, for the journal's keys. tally: what all pieces together have used.

    keep: whether finished pieces are kept for another attempt.
    """

    def __init__(self, journal: Journal | None, place: str, visit: int, tally: Tally, keep: bool) -> None:
        self.tally = tally
        self._journal = journal
        self._place = place
        self._visit = visit
        self._kept: dict[int, Any] | None = {} if keep else None

    async def make(self, part: int, work: Callable[[Tally], Awaitable[Any]]) -> Any:
        """The result of one piece: found, or made by `work`, which counts its calls in the tally that it gets."""
        if self._kept is not None and part in self._kept:
            return self._kept[part]
        key = JobKey(self._place, part, self._visit)
        record = self._journal.find(key) if self._journal is not None else None
        tally = Tally() if record is None else Tally.from_json(record["tally"])
        output = await work(tally) if record is None else record["output"]
        self.tally += tally
        if self._kept is not None:
            self._kept[part] = output
        if self._journal is not None and record is None:
            self._journal.note(key, {"output": output, "tally": tally.to_json()})
        return output

    async def make_all(self, count: int, at_once: int, work: Callable[[int, Tally], Awaitable[Any]]) -> list[Any]:
        """The results of pieces 0 to count - 1, in order. The first failure ends the others, which have ended when
        this raises."""
        results: list[Any] = [None] * count
        indexes = iter(range(count))

        async def make_some() -> None:
            for index in indexes:
                results[index] = await self.make(index, partial(work, index))

        await all_of([asyncio.create_task(make_some()) for _ in range(min(at_once, count))])
        return results


async def all_of(tasks: "list[asyncio.Task[Any]]") -> None:
    """Wait for all; the first failure ends the others, which have ended when this raises."""
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: "Mapping[asyncio.Task[Any], Any] | list[asyncio.Task[Any]]") -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
