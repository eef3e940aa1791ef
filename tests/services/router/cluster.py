"""What a cluster does to a router and its tasks, on loopback: addresses behind one name, and pods that come and go."""

import asyncio
import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.services.router.rig import ECHO, Service, eventually, http, launched
from tests.services.tasks.serving import settings_of

T = TypeVar("T")

_PIECE = 64 * 1024
_LOOK_EVERY_S = 0.1


def free_port() -> int:
    """One at which nobody listens: what connects there is refused, as at a Service without endpoints."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def task_pod(folder: Path, name: str, port: int = 0, **environment: str) -> Iterator[Service]:
    """An echo task that listens on TCP; it answers when this returns, and is ready unless the environment says not."""
    settings = folder / f"{name}.json"
    settings.write_text("{}")
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-P", str(ECHO), str(settings)]
        with launched(command, listener, folder / f"{name}.log", environment) as process:
            listener.close()
            http("GET", f"{address}/livez").raise_for_status()
            yield Service(process, address, folder / f"{name}.log")


@contextmanager
def model_pod(folder: Path, name: str, model: Path) -> Iterator[Service]:
    """A real task over a tiny model; ready when this returns."""
    settings = folder / f"{name}.json"
    settings.write_text(settings_of(model).model_dump_json())
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "services.entry", str(settings)]
        with launched(command, listener, folder / f"{name}.log", {}) as process:
            listener.close()
            eventually(lambda: http("GET", f"{address}/readyz").status_code == 200, 60)
            yield Service(process, address, folder / f"{name}.log")


def port_of(pod: Service) -> int:
    return int(pod.address.rpartition(":")[2])


def computing(pod: Service) -> int:
    """How many requests an echo task works on."""
    return int(http("GET", f"{pod.address}/counters").json()["computing"])


class ClusterService:
    """A Service: each new connection goes to the next of its endpoints, and stays there whatever becomes of them.

    An endpoint that is gone is passed over: the machine of a pod whose process has ended refuses connections, which
    cannot be done here for some of them only. Without any, connections are reset.
    """

    def __init__(self) -> None:
        self._endpoints: list[int] = []
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._pipes: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> "ClusterService":
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, *pods: Service) -> None:
        self._endpoints = [*self._endpoints, *map(port_of, pods)]

    def remove(self, pod: Service) -> None:
        self._endpoints = [port for port in self._endpoints if port != port_of(pod)]

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        if self._pipes:
            await asyncio.wait(self._pipes)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        endpoints = self._endpoints
        try:
            for _ in endpoints:
                with suppress(ConnectionRefusedError):
                    port = endpoints[next(self._turns) % len(endpoints)]
                    there, back = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(_copy(reader, back), _copy(there, writer))
                    return
            _reset(writer)
        finally:
            self._pipes.discard(task)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; its end becomes the target's, and so does a reset."""
    try:
        while piece := await source.read(_PIECE):
            target.write(piece)
            await target.drain()
        with suppress(OSError):
            target.close()
    except OSError:
        _reset(target)
    except asyncio.CancelledError:
        _reset(target)
        raise


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


def gauge(router: Service, component: str) -> float:
    """How much the router says that a component is wanted."""
    start = f'model_compose_wanted_requests{{component="{component}"}} '
    lines = http("GET", f"{router.address}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(start)).removeprefix(start))


def wanted(router: Service, component: str, least: float) -> None:
    """Wait until so many requests want it."""
    eventually(lambda: gauge(router, component) >= least)


def throughout(condition: Callable[[], bool], duration_s: float) -> None:
    """Look again and again for so long whether the condition holds."""
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        assert condition()
        time.sleep(_LOOK_EVERY_S)
