"""Sends bodies that must be refused, and shows how soon they are, what they cost, and whether others notice.

    python -m benchmarks.bodies

`refused` is the time from the last byte that was sent, which is the offending one, to the answer's head; a body that is
far too long is sent on until it is refused. `growth` is the most that the router's memory was above where it stood
before, `health` the slowest answer to a probe meanwhile.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from benchmarks.raw import ask
from tests.services.router.rig import Stack, chat, stack, text, workflow

MB = 1_000_000
DOORS = ("/api/workflows/runs", "/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_PIECE = 64 * 1024


def _repeated(piece: bytes, size: int) -> Iterator[bytes]:
    yield b'{"input": {"prompt": "'
    for _ in range(size // len(piece)):
        yield piece


def _whole(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([body])


BODIES: dict[str, Callable[[], Iterator[bytes]]] = {
    "100 MB": lambda: _repeated(b"x" * _PIECE, 100 * MB),
    "9 MB of one text": _whole(b'["' + b"x" * 9 * MB + b'"]'),
    "9 MB of escapes": _whole(b'"' + b'\\"' * (9 * MB // 2)),
    "9 MB of wide characters": _whole(b'["' + "😀".encode() * (9 * MB // 4) + b'"]'),
    "9 MB of brackets": _whole(b"[" * 9 * MB),
    "65 levels": _whole(b"[" * 65 + b"]" * 65),
    "10 001 keys": _whole(json.dumps({str(number): 1 for number in range(10_001)}).encode()),
    "100 001 values": _whole(b"[" + b"1," * 100_000 + b"1]"),
    "NaN": _whole(b'{"input": {"prompt": NaN}}'),
    "a key twice": _whole(b'{"input": {}, "input": {}}'),
    "not UTF-8": _whole(b'{"input": {"prompt": "\xff"}}'),
    "half a character": _whole(b'{"input": {"prompt": "\\ud800"}}'),
    "not JSON": _whole(b'{"input": '),
}


@dataclass(frozen=True)
class Figures:
    """Of one body at one door."""

    body: str
    door: str
    status: int
    refused_s: float
    growth_bytes: int
    health_s: float


async def send(running: Stack, name: str, door: str) -> Figures:
    """Send it in chunks, and ask for the router's health all the while."""
    port = int(running.router.address.rpartition(":")[2])
    process = psutil.Process(running.router.process.pid)
    watching = asyncio.create_task(_watch(port, process))
    await asyncio.sleep(0.02)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {door} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    sent_s = time.perf_counter()
    try:
        for body in BODIES[name]():
            for start in range(0, len(body), _PIECE):
                piece = body[start : start + _PIECE]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                sent_s = time.perf_counter()
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        sent_s = time.perf_counter()
    except OSError:
        pass  # refused, and closed
    answer = await head
    refused_s = time.perf_counter() - sent_s
    writer.transport.abort()
    await asyncio.sleep(0.05)
    watching.cancel()
    health_s, growth_bytes = await watching
    return Figures(name, door, int(answer[9:12]), refused_s, growth_bytes, health_s)


async def _watch(port: int, process: psutil.Process) -> tuple[float, int]:
    """Slowest answer of `/livez`, and most growth, until it is cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    before = most = process.memory_info().rss
    slowest_s = 0.0
    try:
        while True:
            answer = await ask(reader, writer, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            slowest_s = max(slowest_s, answer.took_s)
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.002)
    except asyncio.CancelledError:
        writer.close()
        return slowest_s, most - before


async def send_all(running: Stack, doors: tuple[str, ...] = DOORS) -> list[Figures]:
    """Every body at every door, one after the other."""
    return [await send(running, name, door) for door in doors for name in BODIES]


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(Path(folder), [text(), chat()], [workflow("text", default=True)]) as running,
    ):
        found = uvloop.run(send_all(running))
    print(f"{'worst of all doors':26}{'status':>8}{'refused ms':>12}{'growth MB':>12}{'health ms':>12}")
    for name in BODIES:
        figures = [item for item in found if item.body == name]
        statuses = "/".join(sorted({str(item.status) for item in figures}))
        refused_ms = max(item.refused_s for item in figures) * 1000
        growth_mb = max(item.growth_bytes for item in figures) / MB
        health_ms = max(item.health_s for item in figures) * 1000
        print(f"{name:26}{statuses:>8}{refused_ms:12.1f}{growth_mb:12.1f}{health_ms:12.1f}")


if __name__ == "__main__":
    main()
