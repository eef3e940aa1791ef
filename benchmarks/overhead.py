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
from pathlib import Path

import uvloop

from benchmarks import incumbent
from benchmarks.raw import Target, ask, percentile
from services.wire import PREDICT_PATH, TaskRequest
from tests.net import free_port
from tests.services.router.rig import chat, stack, workflow

RUN = json.dumps({"input": {"system-prompt": "You are brief.", "user-prompt": "Explain quantum computing."}}).encode()
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Explain quantum computing."}]
CALL = json.dumps(TaskRequest("1", {"messages": MESSAGES}, 1, stream=False).to_json()).encode()

CLIENTS = (1, 32)
Figures = dict[tuple[str, int], tuple[float, ...]]
"""By target and clients: runs a second, median and 95th percentile in milliseconds."""

INCUMBENT_FILE = """\
controller:
  adapters: [{{type: http-server, port: {port}, base_path: /api}}]
workflow:
  job: {{type: delay, duration: 0, output: "${{input.user-prompt}}"}}
"""


async def measure(target: Target, clients: int, seconds: float) -> list[float]:
    """Latencies in seconds of everything that was answered with 200 in this time."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    request = target.request()

    async def client() -> None:
        reader, writer = await target.connect()
        while time.perf_counter() < end:
            answer = await ask(reader, writer, request)
            if answer.status != 200:
                raise SystemExit(f"{target.name} answered {answer.status}")
            latencies.append(answer.took_s)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


async def compare(targets: list[Target], rounds: int, seconds: float) -> Figures:
    """Medians over the rounds, in which the targets take turns."""
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for clients in CLIENTS:
        for _ in range(rounds):
            for target in targets:
                await measure(target, clients, 0.3)
                latencies = await measure(target, clients, seconds)
                p50, p95 = (percentile(latencies, share) * 1000 for share in (0.5, 0.95))
                found.setdefault((target.name, clients), []).append((len(latencies) / seconds, p50, p95))
    return {
        key: tuple(statistics.median(column) for column in zip(*results, strict=True)) for key, results in found.items()
    }


def measure_all(environment: Path | None, rounds: int, seconds: float) -> Figures:
    """environment: the incumbent's, or None to leave it out."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as others:
        output = {"generated": "${output}"}
        with stack(Path(folder), [chat()], [workflow("chat", output=output)]) as running:
            task = running.tasks["chat"].address.removeprefix("unix:")
            port = int(running.router.address.rpartition(":")[2])
            targets = [
                Target("router", port, "/api/workflows/runs", RUN),
                Target("task", task, PREDICT_PATH, CALL),
            ]
            if environment:
                other = free_port()
                place = Path(folder) / "incumbent"
                place.mkdir()
                others.enter_context(incumbent.serving(environment, place, INCUMBENT_FILE.format(port=other), other))
                targets.append(Target("incumbent", other, "/api/workflows/runs", RUN))
            found: Figures = uvloop.run(compare(targets, rounds, seconds))
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a run through router and task without a model.")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--incumbent", type=Path, help="its virtual environment")
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    print(f"{'':10}{'clients':>8}{'runs/s':>10}{'p50 ms':>10}{'p95 ms':>10}")
    found = measure_all(arguments.incumbent, arguments.rounds, arguments.seconds)
    for (name, clients), (rate, p50, p95) in found.items():
        print(f"{name:10}{clients:8}{rate:10.0f}{p50:10.2f}{p95:10.2f}")


if __name__ == "__main__":
    main()
