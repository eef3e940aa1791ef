"""Serves one task: `python -m services.entry task.json (--fd N | --host H --port P) [--parent PID]`.

It answers `/livez` before any library is loaded. Exit codes: 0 after SIGTERM, 2 wrong arguments or settings, and those
of services.engine.failure: 69 no such device, 70 unexpected, 75 not enough memory, 78 the model or its settings.
"""

from services import process

if __name__ == "__main__":
    _arguments = process.start()  # before the imports below: from here on the process ends with its parent

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pydantic
import uvicorn

from services import logs
from services.routes import Application, Message, Receive, Routes, Send
from services.service import TaskWorker, make_service
from services.settings import TaskSettings

_log = logging.getLogger("services.entry")


def main(arguments: process.Arguments) -> int:
    """Serve until SIGTERM and the end of the requests that run then; returns the exit code.

    How long these may take is for whoever sends it: it kills what has not ended in its time.
    """
    logs.configure()
    try:
        settings = TaskSettings.model_validate_json(arguments.settings.read_bytes())
        listening = process.open_socket(arguments)
    except pydantic.ValidationError as error:
        _log.error("%s is no task's settings: %s", arguments.settings.name, error.errors()[0]["msg"])
        return 2
    except OSError as error:
        _log.error("cannot start: %s", error.strerror)
        return 2
    worker = TaskWorker(settings)
    worker.start()
    server = Server(
        uvicorn.Config(
            Routes(BentoApplication(settings, worker), worker),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            server_header=False,
        )
    )
    server.run(sockets=[listening])
    return 0


class Server(uvicorn.Server):
    """Takes SIGTERM and SIGINT as a wish to end well: uvicorn itself would die of them after its shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.handle_exit)
        yield


class BentoApplication:
    """BentoML's own ASGI application, imported when somebody first asks it, so that it costs nothing until then."""

    def __init__(self, settings: TaskSettings, worker: TaskWorker) -> None:
        self._settings = settings
        self._worker = worker
        self._app: asyncio.Task[Application] | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._app is None:
            self._app = asyncio.create_task(self._start())
        app = await asyncio.shield(self._app)
        await app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._app is not None:
            await self._app
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> Application:
        app = await asyncio.to_thread(self._make)
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        made: Application = app
        return made

    def _make(self) -> Any:
        return make_service(self._settings, self._worker).to_asgi()


if __name__ == "__main__":
    _code = main(_arguments)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(_code)  # the engine's thread may be deep inside torch, where an ordinary exit would abort
