"""One client's connection, with bounds on what it sends that is no body, and on how long it is waited for."""

import asyncio
import secrets

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.errors import ServiceError
from services.router.doors.answers import error_response

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line with its headers, and of whatever else is no body: trailers, empty lines, chunk extensions."""
HEAD_S = 30
"""How long a request's head may take, counted from the connection or from the head's first byte."""
STUCK_S = 60
"""A client that takes nothing of an answer for so long is given up."""
MOST_PIPELINED = 32
"""Requests that may wait behind an unanswered one; each takes a hundred times the memory of its bytes."""
LINGER_S = 2
"""How long the rest of a refused body is read and dropped; closed at once, the kernel would drop the answer too."""

_TOO_LARGE = ServiceError(
    431, "head_too_large", "The request line and headers are too long.", hint=f"{MAX_HEAD_BYTES:,} bytes are read."
)
_UNREADABLE = ServiceError(400, "invalid_http", "This is not a request in HTTP/1.1.")


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, which by itself reads heads without end.

    It also loses the body of a request that offers another protocol, as Java's client does (`Upgrade: h2c`); here the
    offer is passed over.
    """

    _unclaimed = 0
    """Bytes since the parser last completed a head or gave a piece of a body."""
    _patience: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._claim()
        self._stop_watching()
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        self._unset_keepalive_if_required()
        self._unclaimed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(_UNREADABLE)
            return
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.close()
        elif self._unclaimed > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._unclaimed and self._patience is None:
            self._wait_for_head()

    def _feed(self, data: bytes) -> None:
        while data and len(self.pipeline) <= MOST_PIPELINED:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._without_offer() + data[offer.args[0] :]

    def _without_offer(self) -> bytes:
        """The head that was just read, to be read again without its offer. Raises HttpParserError for CONNECT."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError
        self.parser = httptools.HttpRequestParser(self)
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        self._claim()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # trailers would go into those that the application has
            self.cycle.transport = _Answering(self)  # type: ignore[assignment]  # it has all that a cycle uses

    def on_body(self, body: bytes) -> None:
        self._claim()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._claim()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def _refuse(self, error: ServiceError) -> None:
        if self.transport.is_closing():
            return
        begun = self.cycle is not None and not self.cycle.response_complete
        if not begun or not (self.cycle.response_started or self.pipeline):  # else it would stand in another answer
            request_id = secrets.token_hex(16)
            answer = error_response(error, request_id)
            headers = [*self.server_state.default_headers, *answer.raw_headers, (b"x-request-id", request_id.encode())]
            lines = [name + b": " + value + b"\r\n" for name, value in [*headers, (b"connection", b"close")]]
            self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", bytes(answer.body)]))
        if begun:
            self.cycle.disconnected = True
        self.transport.close()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def last_answer(self) -> None:
        """Close after the answer under way."""
        if not (self._idle or self.pipeline):
            self.cycle.keep_alive = False

    def leave(self) -> None:
        """Close when nothing is under way; a new connection's first request may be, with nothing of it here yet."""
        if self._idle and self.cycle is not None and not self._unclaimed:
            self.transport.close()

    def end(self) -> None:
        """Close after the last answer, when the client has read it or has had its time to."""
        if self.transport.is_closing() or not self.cycle.more_body:
            self.transport.close()
        elif self._lingering is None:
            self._lingering = self.loop.call_later(LINGER_S, self.transport.abort)
            self.transport.write_eof()
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def _watch_reader(self, unsent_before: int | None = None) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent_before is not None and unsent >= unsent_before:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(STUCK_S, self._watch_reader, unsent)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_S, self.transport.close)

    def _claim(self) -> None:
        self._unclaimed = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _Answering:
    """Where uvicorn writes one answer: a head that tells the length of its body leaves together with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._head: bytes | None = None if connection.scope["method"] != "HEAD" else b""
        """Waits for its body when there is something in it; None before anything was written."""

    def write(self, data: bytes) -> None:
        if self._head is None and b"\r\ncontent-length: " in data:
            self._head = data
            return
        self._transport.write(self._head + data if self._head else data)
        self._head = b""

    def close(self) -> None:
        self._connection.end()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
