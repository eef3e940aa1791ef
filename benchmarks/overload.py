"""Floods a router with ten times what its task can do, beside a polite client, and shows what each of them gets.

    python -m benchmarks.overload [--seconds 60] [--times 10]

The task is the tests' echo, four requests at once, 50 ms each; 64 may wait, as by default. The flood is an open loop:
it sends on, whatever is answered. The polite client has a session of its own and asks again when it has its answer.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from benchmarks.raw import Answer, Target, ask, percentile, run_body
from tests.services.router.rig import Stack, stack, text, workflow

AT_ONCE = 4
SERVICE_S = 0.05
QUEUE = 64
RUN = {"tokens": 10, "ms": SERVICE_S / 10 * 1000}
_MOST_CONNECTIONS = 1000


@dataclass(frozen=True)
class Figures:
    """flood, polite: what was answered. growth_bytes: of the router's memory, after the first second."""

    flood: list[Answer]
    polite: list[Answer]
    growth_bytes: int

    @property
    def accepted_s(self) -> list[float]:
        return [answer.took_s for answer in self.flood if answer.status == 200]

    @property
    def rejected_s(self) -> list[float]:
        return [answer.took_s for answer in self.flood if answer.status == 429]

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in [*self.flood, *self.polite])


async def overload(running: Stack, times: float, seconds: float) -> Figures:
    """`times`: the flood's rate as a multiple of what the task can do."""
    port = int(running.router.address.rpartition(":")[2])
    bodies = {name: run_body(RUN, session_id=name) for name in ("flood", "polite")}
    targets = {name: Target(name, port, "/api/workflows/runs", body) for name, body in bodies.items()}
    router = psutil.Process(running.router.process.pid)
    flooding = asyncio.create_task(_flood(targets["flood"], times * AT_ONCE / SERVICE_S, seconds))
    await asyncio.sleep(min(1, seconds / 4))
    before = most = router.memory_info().rss
    asking = asyncio.create_task(_ask_politely(targets["polite"], time.perf_counter() + seconds * 3 / 4))
    while not flooding.done():
        await asyncio.sleep(0.1)
        most = max(most, router.memory_info().rss)
    return Figures(await flooding, await asking, most - before)


async def _flood(target: Target, rate: float, seconds: float) -> list[Answer]:
    """Ask at this rate, in requests a second, over as many connections as it takes; all answers are waited for."""
    request = target.request()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    answers: list[Answer] = []

    async def one() -> None:
        connection = idle.pop() if idle else await target.connect()
        answers.append(await ask(*connection, request))
        idle.append(connection)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as asking:
        sent = 0
        while (now := time.perf_counter() - began) < seconds:
            due = min(int(now * rate) - sent, _MOST_CONNECTIONS - (sent - len(answers)))
            for _ in range(due):
                asking.create_task(one())
            sent += max(due, 0)
            await asyncio.sleep(0.001)
    for _, writer in idle:
        writer.close()
    return answers


async def _ask_politely(target: Target, end: float) -> list[Answer]:
    reader, writer = await target.connect()
    answers = []
    while time.perf_counter() < end:
        answers.append(await ask(reader, writer, target.request()))
    writer.close()
    return answers


def serving(folder: Path) -> AbstractContextManager[Stack]:
    """What is flooded."""
    return stack(folder, [text(max_concurrent_count=AT_ONCE, max_queue_length=QUEUE)], [workflow("text")])


def main() -> None:
    parser = argparse.ArgumentParser(description="Floods a router with more than its task can do.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, default=10, help="the flood's rate as a multiple of the task's")
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as running:
        figures = uvloop.run(overload(running, arguments.times, arguments.seconds))
    print(f"{'':10}{'answers':>10}{'a second':>10}{'p50 ms':>10}{'p99 ms':>10}")
    polite_s = [answer.took_s for answer in figures.polite if answer.status == 200]
    for name, took_s in (("accepted", figures.accepted_s), ("rejected", figures.rejected_s), ("polite", polite_s)):
        p50, p99 = (percentile(took_s, share) * 1000 for share in (0.5, 0.99))
        print(f"{name:10}{len(took_s):10}{len(took_s) / arguments.seconds:10.0f}{p50:10.1f}{p99:10.1f}")
    others = {status: count for status, count in figures.statuses.items() if status not in (200, 429)}
    print(f"other answers: {others or 'none'}; the router grew by {figures.growth_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
