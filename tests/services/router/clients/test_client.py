"""The router's side of a task's socket, in one process: what happens when nobody answers at its other end."""

import asyncio
import itertools
import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients import client as client_module
from services.router.clients.client import TASK_CRASHED, NotReady, TaskClient
from services.wire import PREDICT_PATH, TaskRequest

pytestmark = pytest.mark.unit

REQUEST = TaskRequest("r", {}, seed=1, stream=False)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
DONE = b'{"type":"done","result":"x","usage":{},"warnings":[]}\n'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(DONE), DONE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_DOUBT_AFTER_S", 0.05)
    monkeypatch.setattr(client_module, "_LIFE_TIMEOUT_S", 0.05)


@asynccontextmanager
async def task_behind(listener: socket.socket, silence_s: float) -> AsyncIterator[None]:
    """A process that lives: it answers probes at once and requests after a silence."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if PREDICT_PATH.encode() in head:
            await asyncio.sleep(silence_s)
            writer.write(ANSWER)
        else:
            writer.write(OK)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(answer, sock=listener.dup()):
        yield


@pytest.fixture
def listener(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "task.sock"))
    listener.listen()
    return listener


@asynccontextmanager
async def resetting(until: float = math.inf) -> AsyncIterator[tuple[TaskClient, list[bytes]]]:
    """A client of a task that answers probes and resets its first connections over a request; what it was asked.

    until: from this connection on, counted from 0, it answers requests.
    """
    asked = []
    handlers: list[Any] = []
    connections = itertools.count()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(connections)
        handlers.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked.append(head.split()[0])
                if asked[-1] == b"GET":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                if number >= until:
                    writer.write(ANSWER)
                else:
                    connection = writer.get_extra_info("socket")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = TaskClient("text", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield client, asked
        await client.close()
        await asyncio.gather(*handlers)


async def test_a_request_that_may_have_been_read_is_sent_once_more_where_its_link_was_kept() -> None:
    """The link may have been closed while the request was on its way; a new one was not."""
    async with resetting() as (client, asked):
        for _ in range(2):
            asked.clear()
            with pytest.raises(ServiceError) as refused:
                await client.predict(REQUEST, None)
            assert refused.value.code == TASK_CRASHED
            assert asked == [b"GET", b"POST", b"POST"]
        asked.clear()
        client._ready = True  # so that it keeps no link of a probe
        with pytest.raises(ServiceError) as refused:
            await client.predict(REQUEST, None)
        assert (refused.value.code, asked) == (TASK_CRASHED, [b"POST"])


async def test_where_all_kept_links_are_old_a_new_one_is_tried() -> None:
    async with resetting(until=2) as (client, asked):
        await asyncio.gather(client.readiness(), client.readiness())  # over a link each
        assert (await client.predict(REQUEST, None)).result == "x"
        assert asked == [b"GET", b"GET", b"POST", b"POST"]


async def test_a_request_that_reaches_nobody_is_not_waited_for(listener: socket.socket, folder: Path) -> None:
    """The supervisor keeps the socket while a process ends and the next one starts."""
    client = TaskClient("text", f"unix:{folder}/task.sock")
    async with task_behind(listener, silence_s=0.3):
        done = await client.predict(REQUEST, None)  # longer than the patience with one that gives no sign of life
    assert done.result == "x"
    with pytest.raises(ServiceError) as refused:
        async with asyncio.timeout(5):
            await client.predict(REQUEST, None)
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (503, "not_ready", 2)
    assert isinstance(refused.value, NotReady)
    assert refused.value.sent
    await client.close()
    listener.close()
