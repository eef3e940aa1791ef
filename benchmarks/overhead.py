"""Times a run through router and task without a model: what the service itself costs.

    python -m benchmarks.overhead [--seconds 3] [--rounds 3] [--incumbent VENV]

The task is the tests' echo; the incumbent (benchmarks/incumbent.py) runs its own trivial job, a delay of nothing.
Clients are a closed loop over kept connections in this process, on the same machine; the rows `task` talk to the echo
task itself, so that the router's share can be read off. Medians of the rounds.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import incumbent
from services.wire import PREDICT_PATH, TaskRequest
from tests.net import free_port
from tests.services.router.rig import chat, stack, workflow

RUN = json.dumps({"input": {"system-prompt": "You are brief.", "user-prompt": "Explain quantum computing."}}).encode()
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Explain quantum computing."}]
CALL = json.dumps(TaskRequest("1", {"messages": MESSAGES}, 1, stream=False).to_json()).encode()

INCUMBENT_FILE = """\
controller:
  adapters: [{{type: http-server, port: {port}, base_path: /api}}]
workflow:
  job: {{type: delay, duration: 0, output: "${{input.user-prompt}}"}}
"""


@dataclass(frozen=True)
class Target:
    """What is asked, over a kept connection. address: a socket's path, or a port on 127.0.0.1."""

    name: str
    address: str | int
    path: str
    body: bytes

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection("127.0.0.1", self.address)

    def request(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


async def measure(target: Target, clients: int, seconds: float) -> list[float]:
    """Latencies in seconds of everything that was answered with 200 in this time."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    request = target.request()

    async def client() -> None:
        reader, writer = await target.connect()
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{target.name} answered {head.decode()}")
            await read_rest(reader, head)
            latencies.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


async def read_rest(reader: asyncio.StreamReader, head: bytes) -> None:
    _, found, length = head.lower().partition(b"content-length: ")
    if found:
        await reader.readexactly(int(length.split(b"\r\n")[0]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


async def compare(targets: list[Target], rounds: int, seconds: float) -> None:
    print(f"{'':10}{'clients':>8}{'runs/s':>10}{'p50 ms':>10}{'p95 ms':>10}")
    for clients in (1, 32):
        found: dict[str, list[tuple[float, float, float]]] = {target.name: [] for target in targets}
        for _ in range(rounds):
            for target in targets:
                await measure(target, clients, 0.3)
                latencies = sorted(await measure(target, clients, seconds))
                p50, p95 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.95))
                found[target.name].append((len(latencies) / seconds, p50, p95))
        for name, results in found.items():
            rate, p50, p95 = (statistics.median(column) for column in zip(*results, strict=True))
            print(f"{name:10}{clients:8}{rate:10.0f}{p50:10.2f}{p95:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a run through router and task without a model.")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--incumbent", type=Path, help="virtual environment of the incumbent")
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as others:
        output = {"generated": "${output}"}
        with stack(Path(folder), [chat()], [workflow("chat", output=output)]) as running:
            task = running.tasks["chat"].address.removeprefix("unix:")
            port = int(running.router.address.rpartition(":")[2])
            targets = [
                Target("router", port, "/api/workflows/runs", RUN),
                Target("task", task, PREDICT_PATH, CALL),
            ]
            if arguments.incumbent:
                other = free_port()
                place = Path(folder) / "incumbent"
                place.mkdir()
                others.enter_context(
                    incumbent.serving(arguments.incumbent, place, INCUMBENT_FILE.format(port=other), other)
                )
                targets.append(Target("incumbent", other, "/api/workflows/runs", RUN))
            uvloop.run(compare(targets, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
