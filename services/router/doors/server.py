"""Serves the router until it is told to end, and then ends without losing an accepted run."""

import asyncio
import gc
import resource
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from services.process import Arguments, open_socket
from services.router.doors.connection import Connection

_KEEP_ALIVE_S = 75
_LAST_ANSWERS_S = 5
"""How long clients may take to read the answers of finished runs."""
_OPEN_FILES = 65_536
"""As many connections as the system lets us have up to this; the usual 1,024 are soon taken by idle ones."""


def serve(app: ASGIApp, arguments: Arguments, drain: Callable[[], Awaitable[None]]) -> None:
    """Serve on the socket that the arguments name; returns after SIGTERM or SIGINT, when `drain` has returned."""
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
    _DrainingServer(config, drain).run([open_socket(arguments)])


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if wanted > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that new requests get an answer; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain
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
