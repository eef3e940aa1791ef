"""Times the acceptance of asynchronous runs, and kills the router meanwhile to count what is lost.

    python -m benchmarks.durable [--seconds 5] [--clients 32] [--kills 15] [--postgres]

The task is the tests' echo. `accepted` is the time from a request to its 202, when the run is on the disk; `finished`
is the rate over all of it, until the last run has its result. A client that is refused, because too many runs wait,
pauses for a moment. The kills come at random moments under the same load.
"""

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import uvloop

from services.router.settings import RouterSettings
from tests.postgres import postgres_server
from tests.services.router.rig import Service, echo_task, router, text, workflow

BODY = json.dumps({"input": {"prompt": "Explain quantum computing."}, "wait_for_completion": False}).encode()
PAUSE_S = 0.02


class Load:
    """Clients in a closed loop over kept connections. accepted: ids, with the seconds that each acceptance took;
    refused: the seconds that each refusal took."""

    def __init__(self, service: Service) -> None:
        self._port = int(service.address.rpartition(":")[2])
        self.accepted: dict[str, float] = {}
        self.refused: list[float] = []

    async def run(self, clients: int, seconds: float) -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(self._client(end) for _ in range(clients)))

    async def _client(self, end: float) -> None:
        head = "POST /api/workflows/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # the router was killed
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while (began := time.perf_counter()) < end:
                writer.write(request)
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
                length = next(line for line in lines if line.startswith("content-length:")).partition(":")[2]
                answer = json.loads(await reader.readexactly(int(length)))
                took = time.perf_counter() - began
                if " 202 " in lines[0]:
                    self.accepted[answer["task_id"]] = took
                else:
                    self.refused.append(took)
                    await asyncio.sleep(PAUSE_S)
            writer.close()


def states(service: Service, ids: list[str]) -> dict[str, str]:
    """The last state of each run, waited for; `lost` when nobody knows it, `stuck` when it does not end."""
    with httpx.Client(base_url=f"{service.address}/api", timeout=30, trust_env=False) as client:
        found = {}
        deadline = time.monotonic() + 60
        for task_id in ids:
            status = "pending"
            while status in ("pending", "processing"):
                status = client.get(f"/tasks/{task_id}").json().get("status", "lost")
                if time.monotonic() > deadline:
                    status = "stuck"
            found[task_id] = status
    return found


def measure(folder: Path, settings: RouterSettings, clients: int, seconds: float) -> None:
    with router(folder, settings) as service:
        uvloop.run(Load(service).run(clients, 0.5))
        load = Load(service)
        began = time.perf_counter()
        uvloop.run(load.run(clients, seconds))
        states(service, sorted(load.accepted)[-100:])
        took = time.perf_counter() - began
    count = len(load.accepted)
    print(f"{clients} clients: {count / seconds:.0f} accepted/s, {spread(load.accepted.values())}", end="; ")
    print(f"{count / took:.0f} finished/s", end="; ")
    print(f"{len(load.refused)} refused{', ' + spread(load.refused) if load.refused else ''}")


def spread(seconds: Iterable[float]) -> str:
    times = sorted(seconds)
    p50, p95 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.95))
    return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"


def kill(folder: Path, settings: RouterSettings, clients: int, kills: int) -> None:
    ids: list[str] = []
    for _ in range(kills):
        with router(folder, settings) as service:
            load = Load(service)

            async def killed(load: Load = load, service: Service = service) -> None:
                asyncio.get_running_loop().call_later(random.uniform(0.05, 0.6), service.process.kill)
                await load.run(clients, 5)

            uvloop.run(killed())
            ids += load.accepted
    with router(folder, settings) as service:
        found = list(states(service, ids).values())
    counts = {state: found.count(state) for state in sorted(set(found))}
    print(f"{kills} kills: {len(ids)} accepted, {counts}")


@contextlib.contextmanager
def database(folder: Path, postgres: bool) -> Iterator[dict[str, str]]:
    if not postgres:
        yield {"driver": "sqlite", "path": str(folder / "runs.db")}
        return
    with postgres_server() as url:
        yield {"driver": "postgres", "url": url}


def main() -> None:
    parser = argparse.ArgumentParser(description="Times asynchronous runs, and counts what kills lose.")
    parser.add_argument("--seconds", type=float, default=5, help="length of the measurement")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--postgres", action="store_true", help="in a server of its own instead of an SQLite file")
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        task = stack.enter_context(echo_task(folder, "text"))
        settings = RouterSettings.model_validate(
            {
                "components": [text(endpoint=task.address)],
                "workflows": [workflow("text")],
                "database": stack.enter_context(database(folder, arguments.postgres)),
            }
        )
        measure(folder, settings, 1, arguments.seconds)
        measure(folder, settings, arguments.clients, arguments.seconds)
        kill(folder, settings, arguments.clients, arguments.kills)


if __name__ == "__main__":
    main()
