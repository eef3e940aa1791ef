"""Clients in a closed loop, in a process of their own: `python -m benchmarks.peers.load` reads a Cell, writes a Load.

Each client asks again as soon as it has its answer, until the time is over, and at least once. Both are JSON, on
standard input and output; `measure` runs the process.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.peers.dialects import Dialect, Question, piece, target, text
from benchmarks.peers.prompts import Kind, prompt
from benchmarks.raw import ask, parts


@dataclass(frozen=True)
class Cell:
    """One measurement: who is asked what, by how many clients, for how long. first: the number of the first prompt."""

    dialect: Dialect
    port: int
    model: str
    kind: Kind
    clients: int
    tokens: int
    seconds: float
    first: int
    sampled: bool = False
    stream: bool = False


@dataclass(frozen=True)
class Reply:
    """One answer. first_s: from the request to the first text. text: empty when it was streamed."""

    number: int
    took_s: float
    first_s: float
    text: str


@dataclass(frozen=True)
class Load:
    """took_s: from the first request to the last answer."""

    took_s: float
    replies: list[Reply]


class RefusedError(Exception):
    """A server gave another answer than 200; the text says which."""


def measure(cell: Cell, timeout_s: float = 300) -> Load:
    """Raises RefusedError."""
    command = [sys.executable, "-m", "benchmarks.peers.load"]
    asked = json.dumps(asdict(cell))
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=timeout_s)
    except subprocess.CalledProcessError as error:
        raise RefusedError(error.stderr.strip().splitlines()[-1]) from None
    except subprocess.TimeoutExpired:
        raise RefusedError(f"no end within {timeout_s:g} s") from None
    found = json.loads(done.stdout)
    return Load(found["took_s"], [Reply(**reply) for reply in found["replies"]])


async def run(cell: Cell) -> Load:
    """The replies in the order in which they came."""
    replies: list[Reply] = []
    numbers = itertools.count(cell.first)
    began = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", cell.port)
        while True:
            number = next(numbers)
            replies.append(await _reply(cell, number, reader, writer))
            if time.perf_counter() > began + cell.seconds:
                break
        writer.close()

    await asyncio.gather(*(client() for _ in range(cell.clients)))
    return Load(time.perf_counter() - began, replies)


async def _reply(cell: Cell, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
    question = Question(prompt(cell.kind, number), cell.tokens, cell.sampled, cell.stream)
    request = target(cell.dialect, cell.port, cell.model, question).request()
    if cell.stream:
        return await _read_stream(cell, number, request, reader, writer)
    answer = await ask(reader, writer, request)
    if answer.status != 200:
        raise RefusedError(f"{answer.status} {answer.body[:300].decode()}")
    return Reply(number, answer.took_s, answer.took_s, text(cell.dialect, answer.body))


async def _read_stream(
    cell: Cell, number: int, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Reply:
    began = time.perf_counter()
    first_s = 0.0
    unread = b""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    async for part in parts(reader, head):
        if head[9:12] != b"200":
            raise RefusedError(f"{head[9:12].decode()} {part[:300].decode()}")
        if first_s == 0:
            *lines, unread = (unread + part).split(b"\n")
            if any(piece(cell.dialect, line) for line in lines):
                first_s = time.perf_counter() - began
    took_s = time.perf_counter() - began
    return Reply(number, took_s, first_s or took_s, "")


def main() -> None:
    print(json.dumps(asdict(uvloop.run(run(Cell(**json.load(sys.stdin)))))))


if __name__ == "__main__":
    main()
