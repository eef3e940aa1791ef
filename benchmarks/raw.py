"""A client that costs next to nothing, so that the server is measured: prepared bytes over kept connections."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """status: HTTP's. took_s: from the request's first byte to the answer's last one."""

    status: int
    took_s: float
    body: bytes


@dataclass(frozen=True)
class Target:
    """What is asked, over a kept connection. address: a socket's path, or a port on 127.0.0.1."""

    name: str
    address: str | int
    path: str
    body: bytes
    headers: tuple[str, ...] = ()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection("127.0.0.1", self.address)

    def request(self) -> bytes:
        lines = (f"POST {self.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *self.headers)
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    """Send a whole request and read its answer to the end."""
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    body = b"".join([part async for part in parts(reader, head)])
    return Answer(int(head[9:12]), time.perf_counter() - began, body)


async def parts(reader: asyncio.StreamReader, head: bytes) -> AsyncGenerator[bytes, None]:
    """The body behind this head, as it comes."""
    _, found, length = head.lower().partition(b"content-length: ")
    if found:
        yield await reader.readexactly(int(length.split(b"\r\n")[0]))
        return
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


def run_body(prompt: Any, **more: Any) -> bytes:
    """A run of the workflow `text` on the echo task; a prompt that is no text holds its knobs."""
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return json.dumps({"workflow_id": "text", "input": {"prompt": text}, **more}).encode()


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of them lies; NaN of none."""
    if not values:
        return float("nan")
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
