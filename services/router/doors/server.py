"""Serves the router until it is told to end, and then ends without losing an accepted run."""

import asyncio
import gc
import resource
import time
from contextlib import suppress
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from services.process import Arguments, open_socket
from services.router.doors.connection import Connection

_KEEP_ALIVE_S = 75
_LAST_CALL_S = 1.0
"""How long that moment is, in which each answer asks to close. What is idle for so long is closed."""
_LOOK_EVERY_S = 0.02
_CLOSE = (b"connection", b"close")
_LAST_ANSWERS_S = 5
"""How long clients may take to read the answers of finished runs."""
_OPEN_FILES = 65_536
"""As many connections as the system lets us have up to this; the usual 1,024 are soon taken by idle ones."""


class Drained(Protocol):
    """What must not be lost at the end."""

    def leave(self) -> None:
        """Say that this process is about to end, while it still takes what comes."""

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, and wait for what was taken."""


def serve(app: ASGIApp, arguments: Arguments, runs: Drained, timeout_s: float, *, last_call: bool) -> None:
    """Serve on the socket that the arguments name; returns after SIGTERM or SIGINT, when the runs are drained.

    timeout_s: how long that may take. last_call: whether kept connections are still served for a moment then, because
    whoever closes one and comes again gets to another router.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    _raise_file_limit()
    _DrainingServer(config, runs, timeout_s, last_call=last_call).run([open_socket(arguments)])


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if wanted > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that new requests get an answer; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, runs: Drained, timeout_s: float, *, last_call: bool) -> None:
        super().__init__(config)
        self._runs = runs
        self._timeout_s = timeout_s
        self._last_call = last_call
        self._draining: asyncio.Future[None] | None = None
        self._told_to_end = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        if self._told_to_end:
            self.should_exit = self.force_exit = True
        self._told_to_end = True

    async def on_tick(self, counter: int) -> bool:
        if self._told_to_end and self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        if self._draining is not None and self._draining.done():
            self.should_exit = True
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        began_s = time.monotonic()
        if self._last_call:
            await self._call_last()
        await self._runs.drain(max(self._timeout_s - (time.monotonic() - began_s), 0))

    async def _call_last(self) -> None:
        self._runs.leave()
        self._ask_to_close()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LAST_CALL_S, self._timeout_s)):
                while self.server_state.connections:  # noqa: ASYNC110  # once in a life
                    await asyncio.sleep(_LOOK_EVERY_S)
        for connection in self._connections():
            connection.leave()

    def _ask_to_close(self) -> None:
        """In every answer from now on, those included that have not begun."""
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self._connections():
            connection.last_answer()

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]
