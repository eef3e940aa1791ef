"""Containers while they serve: how soon one is ready, and what a restart under load costs."""

import asyncio
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.raw import Answer, Target, ask
from builders.container import STATE, USER

_READY_S = 120.0
_POLL_S = 0.02
_AGAIN_S = 0.1
_RESTRICTED = (
    *("--read-only", "--tmpfs", "/tmp", "--tmpfs", f"{STATE}:uid={USER.partition(':')[0]},mode=0700"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
_BODY = json.dumps({"input": {"user_prompt": "Hello!"}}).encode()


def ready_s(image: str, port: int, *, restricted: bool) -> float:
    """From `docker run` until its probe says yes. restricted: as our own containers run."""
    options = _RESTRICTED if restricted else ()
    started = time.perf_counter()
    command = ("docker", "run", "--detach", "--rm", "--publish", f"127.0.0.1::{port}", *options, image)
    container = _said(*command)
    try:
        address = _said("docker", "port", container, str(port))
        while not _is_ready(f"http://{address}/readyz"):
            if time.perf_counter() - started > _READY_S:
                raise SystemExit(f"{image} is not ready after {_READY_S:g} s")
            time.sleep(_POLL_S)
        return time.perf_counter() - started
    finally:
        _said("docker", "rm", "--force", container)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@dataclass
class Load:
    """What clients got. failed: by status and code, what was neither.

    refused: told `not_ready` at once, so that it may be asked again.
    """

    answered: int = 0
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


class Clients:
    """So many clients, each of which asks the router again as soon as it has its answer."""

    def __init__(self, port: int, clients: int) -> None:
        self._target = Target("router", port, "/api/workflows/runs", _BODY)
        self._clients = clients
        self._stopping = False
        self.load = Load()

    def run(self) -> None:
        """Until `stop`, and until the last answer is there."""
        asyncio.run(self._all())

    def stop(self) -> None:
        """Called from any thread."""
        self._stopping = True

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._clients)))

    async def _one(self) -> None:
        while not self._stopping:
            reader, writer = await self._target.connect()
            try:
                while not self._stopping:
                    await self._count(await ask(reader, writer, self._target.request()))
            except (ConnectionError, asyncio.IncompleteReadError):
                self.load.failed["no answer"] += 1
            finally:
                writer.close()

    async def _count(self, answer: Answer) -> None:
        """One that was refused is asked again a little later, as clients do."""
        code = "" if answer.status == 200 else json.loads(answer.body)["error"]["code"]
        if code == "not_ready":
            self.load.refused += 1
            await asyncio.sleep(_AGAIN_S)
        elif code:
            self.load.failed[f"{answer.status} {code}"] += 1
        else:
            self.load.answered += 1
            self.load.slowest_s = max(self.load.slowest_s, answer.took_s)


def free_ports() -> tuple[int, int]:
    """Two that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
