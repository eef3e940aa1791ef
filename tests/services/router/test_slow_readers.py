"""Clients that ask for a stream and do not read it: little is kept for them, they are given up, nobody else notices."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import uvicorn
from uvicorn.server import ServerState

from services.router.app import create_app
from services.router.core import Core
from services.router.doors import connection
from services.router.doors.connection import Connection
from services.router.settings import RouterSettings
from tests.services.router.rig import Service, Stack, async_http, echo_task, eventually, text, workflow

pytestmark = pytest.mark.server

LONG = json.dumps({"workflow_id": "text", "input": {"prompt": json.dumps({"tokens": 10_000, "width": 1000})}})
MakeStack = Callable[..., AbstractContextManager[Stack]]
READERS = 10
MOST_KEPT_BYTES = 256 * 1024


def ask_and_stand_still(address: str) -> socket.socket:
    """A client with little room of its own, that has asked for a long stream and reads nothing."""
    place = urlsplit(address)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((place.hostname, place.port))
    head = (
        f"POST /api/workflows/runs HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(LONG)}\r\n\r\n"
    )
    client.sendall((head + LONG).encode())
    return client


@asynccontextmanager
async def router_here(folder: Path) -> AsyncIterator[tuple[str, Core, Service]]:
    """A router in this process, in front of an echo task, so that a test can make it impatient."""
    with echo_task(folder, "text") as task:
        component = text(endpoint=task.address)
        app, core = create_app(RouterSettings(components=(component,), workflows=(workflow("text"),)))
        config = uvicorn.Config(app, log_config=None, access_log=False)
        config.load()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(core.lifespan(None))  # type: ignore[arg-type]  # it does not look at it
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Connection(config, ServerState(), {}), "127.0.0.1", 0)
            async with server:
                yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", core, task


async def test_who_reads_nothing_is_given_up_and_its_run_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STUCK_S", 0.3)
    async with router_here(folder) as (address, core, task), async_http() as others:
        with closing(ask_and_stand_still(address)):
            async with asyncio.timeout(20):
                while not (counters := await asyncio.to_thread(task.counters))["cancelled"]:
                    body = {"workflow_id": "text", "input": {"prompt": "beside it"}}
                    answer = await others.post(f"{address}/api/workflows/runs", json=body)
                    assert answer.json()["output"] == "beside it"
            assert counters["computing"] == 0
            assert [gate.active for gate in (core.gate, *core.engine.gates.values())] == [0, 0]


def test_little_is_kept_for_those_who_stand_still(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")]) as running, ExitStack() as clients:
        asked: list[socket.socket] = []
        memory = []
        for readers in (1, READERS):
            while len(asked) < readers:
                asked.append(clients.enter_context(ask_and_stand_still(running.router.address)))
            eventually(lambda: stands_still(running, len(asked)), 60)
            memory.append(psutil.Process(running.router.process.pid).memory_info().rss)
        assert memory[1] - memory[0] < 2 * READERS * MOST_KEPT_BYTES  # twice: Python's objects come on top
        answer = running.post({"workflow_id": "text", "input": {"prompt": "beside them"}})
        assert answer.json()["output"] == "beside them"
        clients.close()
        eventually(lambda: running.tasks["text"].counters()["computing"] == 0)


def stands_still(running: Stack, streams: int) -> bool:
    """Whether so many streams are under way and the router reads nothing of them for a while."""
    if running.tasks["text"].counters()["computing"] < streams:
        return False
    process = psutil.Process(running.router.process.pid)
    before = process.io_counters().read_chars
    time.sleep(0.3)
    return bool(process.io_counters().read_chars == before)
