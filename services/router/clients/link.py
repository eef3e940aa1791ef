"""Kept connections to one task service: bare HTTP/1.1, one request at a time on each, closed to cancel it."""

import asyncio
import socket
import time
from asyncio.trsock import TransportSocket
from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools

_CONNECT_S = 5
_KEEP_ALIVE_S = 4.0
"""Below the five seconds after which servers close idle connections, so that a kept one is rarely stale."""
_LONGEST_S = 8.0
"""After so long a connection to a name is made anew, since several may answer to it by then, as when a cluster has
started more of them; and before the ten seconds are over in which one that must go still answers."""
_KEEP_WATCH = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
"""A machine is gone when its system has said nothing for 25 s; a service may be silent for as long as it computes."""
_READ_AHEAD_BYTES = 8 * 1024
"""What may wait in a link before its service is held back."""

_buffer = memoryview(bytearray(2 * _READ_AHEAD_BYTES))
"""Where every link's bytes arrive; each has parsed its own before the next one's come."""


class LinkError(Exception):
    """The connection ended, or made no sense, before the answer was complete.

    unread: it was closed before the service had read the request, so that sending it again repeats nothing.
    """

    def __init__(self, *, unread: bool) -> None:
        super().__init__("the connection is lost")
        self.unread = unread


class Link(asyncio.BufferedProtocol):
    """One connection: `ask`, then `read` until nothing comes. Both raise LinkError, or what `fail` was given.

    status: of the answer under way, 0 before its head has come. complete: whether the whole answer has come.
    opened_s: since when, by the monotonic clock. local: it leads to a process of this machine, which no other one
    stands for.
    """

    def __init__(self, *, local: bool = False) -> None:
        self.status = 0
        self.complete = True
        self.opened_s = time.monotonic()
        self._local = local
        self._asked = 0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    @property
    def socket(self) -> TransportSocket:
        found: TransportSocket = self._transport.get_extra_info("socket")
        return found

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent."""
        return self.complete and not self._transport.is_closing()

    async def ask(self, request: bytes) -> None:
        """Send a whole request and wait for the answer's head; the link is closed when this raises."""
        self.status, self.complete = 0, False
        self._asked += 1
        try:
            self._transport.write(request)
            while not self.status:
                await self._wait()
        except BaseException:
            self.close()
            raise

    async def read(self) -> bytes:
        """What has come of the body, as soon as something has; empty at its end."""
        while not (self._chunks or self.complete):
            await self._wait()
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return body

    def fail(self, error: Exception) -> None:
        """Close the link and raise `error` in whoever waits for it."""
        if self._error is None:
            self._error = error
        self.close()
        self._tell()

    def close(self) -> None:
        self._transport.close()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # any stream has it
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Writing to a closed socket fails with EPIPE, and a socket closed with unread bytes answers ECONNRESET; a
        process that dies later, having read the request, ends the connection cleanly. From afar only a link that was
        kept says so: it may have been closed while the request was on its way, a new one was not."""
        unread = not self.status and isinstance(exc, BrokenPipeError | ConnectionResetError)
        self.fail(LinkError(unread=unread and (self._local or self._asked > 1)))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._parser.feed_data(_buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(LinkError(unread=False))
        self._tell()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        if self._size >= _READ_AHEAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self.complete = True
        if not self._parser.should_keep_alive():
            self.close()


class Links:
    """The connections to `unix:/path` or `http://host:port`."""

    def __init__(self, endpoint: str) -> None:
        self._path = endpoint.removeprefix("unix:") if endpoint.startswith("unix:") else None
        address = urlsplit(endpoint)
        self._address = (address.hostname or "localhost", address.port or 80)
        self._host = "localhost" if self._path is not None else address.netloc
        self._idle: dict[Link, float] = {}
        """Since when, the latest last."""

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """A request in JSON to this service, as it is sent. headers: beside its own, without line ends."""
        lines = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
        return f"{lines}{more}\r\n".encode("latin-1") + body

    async def open(self, *, kept: bool = True) -> Link:
        """A kept link, unless that is not wanted, or a new one; raises OSError when there is nobody to talk to."""
        while kept and self._idle:
            link, since = self._idle.popitem()
            now = time.monotonic()
            fresh = self._path is not None or now - link.opened_s < _LONGEST_S
            if fresh and link.reusable and now - since < _KEEP_ALIVE_S:
                return link
            link.close()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            if self._path is not None:
                _, link = await loop.create_unix_connection(lambda: Link(local=True), self._path)
            else:
                _, link = await loop.create_connection(Link, *self._address)
                _watch_peer(link.socket)
        return link

    def give_back(self, link: Link) -> None:
        """Keep the link for others, or close it when its answer is not complete, which cancels the request."""
        if link.reusable:
            self._idle[link] = time.monotonic()
        else:
            link.close()

    def close(self) -> None:
        """Close what is idle."""
        for link in self._idle:
            link.close()
        self._idle.clear()


def _watch_peer(connection: TransportSocket) -> None:
    """Have the system end the connection when the machine at its other end is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_WATCH.items():
        if option := getattr(socket, name, None):  # which of them there are depends on the system
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


class Lines:
    """Lines out of the pieces in which they come."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self.unfinished_bytes = 0
        """Of the line whose end has not come."""

    def of(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete with this piece, empty ones left out."""
        self._begun.append(chunk)
        self.unfinished_bytes += len(chunk)
        if b"\n" not in chunk:
            return []
        *lines, rest = b"".join(self._begun).split(b"\n")
        self._begun, self.unfinished_bytes = [rest], len(rest)
        return [line for line in lines if line]
