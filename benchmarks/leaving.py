"""Has clients leave their runs, streaming and not, before the first byte and after, and shows how soon the task stops.

    python -m benchmarks.leaving [--clients 1000]

The task is the tests' echo, which would go on for 10 s. A client leaves up to 100 ms after it has asked, or after its
first byte. The time is from its leaving to the end of the work, as the task has noted it on the same clock.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

from benchmarks.raw import Target, percentile, run_body
from tests.services.router.rig import Stack, eventually, http, stack, text, workflow

STREAM = "Accept: text/event-stream"
WAYS = {
    "unary": ((), False),
    "stream, before its first byte": ((STREAM,), False),
    "stream, after its first byte": ((STREAM,), True),
}
_AT_ONCE = 16
_LONGEST_S = 0.1
_BOUND = re.compile(r"^model_compose_(?:active|queued)_requests\{.*\} (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Figures:
    """stopped_s: by way of leaving. never_started: runs that ended before the task had begun. The rest are leaks."""

    stopped_s: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    never_started: int = 0
    computing: int = 0
    places: float = 0
    descriptors: int = 0


def leave(running: Stack, clients: int) -> Figures:
    """Figures of so many clients, a third of them in each way."""
    router = psutil.Process(running.router.process.pid)
    asyncio.run(_leave_all(running, [(f"warm{number}", way) for number, way in enumerate([*WAYS] * 5)]))
    before = router.num_fds()
    ways = [(str(number), [*WAYS][number % len(WAYS)]) for number in range(clients)]
    left = uvloop.run(_leave_all(running, ways))
    task = running.tasks["text"]
    eventually(lambda: task.counters()["computing"] == 0, 20)
    ended = task.ended()
    figures = Figures(
        never_started=sum(name not in ended for name in left),
        places=sum(map(float, _BOUND.findall(http("GET", f"{running.router.address}/metrics").text))),
        computing=task.counters()["computing"],
        descriptors=router.num_fds() - before,
    )
    for name, way in ways:
        if name in ended:
            figures.stopped_s[way].append(ended[name] - left[name])
    return figures


async def _leave_all(running: Stack, ways: list[tuple[str, str]]) -> dict[str, float]:
    """When each of them left, by name."""
    port = int(running.router.address.rpartition(":")[2])
    left: dict[str, float] = {}
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str, way: str) -> None:
        headers, reads = WAYS[way]
        target = Target(way, port, "/api/workflows/runs", run_body({"tokens": 1000, "ms": 10, "name": name}), headers)
        async with at_once:
            reader, writer = await target.connect()
            writer.write(target.request())
            if reads:
                await reader.readuntil(b"data: ")
            else:
                await asyncio.sleep(random.uniform(0, _LONGEST_S))
            left[name] = time.monotonic()
            writer.transport.abort()

    await asyncio.gather(*(one(name, way) for name, way in ways))
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows how soon a task stops when clients leave.")
    parser.add_argument("--clients", type=int, default=1000)
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(Path(folder), [text()], [workflow("text")]) as running,
    ):
        figures = leave(running, arguments.clients)
    print(f"{'':30}{'clients':>10}{'p50 ms':>10}{'p99 ms':>10}{'most ms':>10}")
    for way, stopped_s in figures.stopped_s.items():
        p50, p99, most = (percentile(stopped_s, share) * 1000 for share in (0.5, 0.99, 1))
        print(f"{way:30}{len(stopped_s):10}{p50:10.1f}{p99:10.1f}{most:10.1f}")
    print(
        f"{figures.never_started} had not begun; still computing: {figures.computing}, places taken: "
        f"{figures.places:g}, descriptors more than before: {figures.descriptors}"
    )


if __name__ == "__main__":
    main()
