"""Heads without end or limit, over real sockets: refused or closed, while others are served."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPResponse

import pytest
import uvicorn
from starlette.responses import Response
from uvicorn.server import ServerState

from services.router.doors import connection
from services.router.doors.connection import MAX_HEAD_BYTES, MOST_PIPELINED, Connection
from tests.services.router.rig import Stack, connect

pytestmark = pytest.mark.server

START = b"POST /api/workflows/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def flood(shared: Stack, start: bytes, more: bytes) -> tuple[int, bytes]:
    """How much was taken of `more`, said again and again, and the answer."""
    with connect(shared) as client:
        client.sendall(start)
        sent = 0
        try:
            while sent < 20_000_000:
                client.sendall(more)
                sent += len(more)
        except OSError:
            pass
        try:
            return sent, client.recv(65_536)
        except OSError:  # what we had still sent makes the kernel drop the answer
            return sent, b""


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"a" * 8192),
        (START, b"X-Name: value\r\n" * 500),
        (START + b"X-Name: ", b"a" * 8192),
        (START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Name: value\r\n" * 500),
        (START + b"Transfer-Encoding: chunked\r\n\r\n2;", b"a" * 8192),
        (b"", b"\r\n" * 4096),
    ],
    ids=["address", "headers", "header", "trailers", "chunk", "nothing"],
)
def test_what_is_no_body_has_a_limit(shared: Stack, start: bytes, more: bytes) -> None:
    sent, answer = flood(shared, start, more)
    assert sent < 10_000_000
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert shared.get("/health").status_code == 200


def test_too_large_a_head_is_told_so_in_the_shape_of_all_errors(shared: Stack) -> None:
    with connect(shared) as client:
        client.sendall(START + b"X-Name: " + b"a" * MAX_HEAD_BYTES)
        head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.1 431 ")
    assert error.pop("request_id").encode() in head
    assert error == {
        "code": "head_too_large",
        "message": "The request line and headers are too long.",
        "hint": "65,536 bytes are read.",
    }


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"HELO\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told_so(shared: Stack, garbage: bytes) -> None:
    with connect(shared) as client:
        client.sendall(garbage)
        head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_http"


def test_a_head_in_pieces_and_two_requests_on_one_connection_are_read(shared: Stack) -> None:
    body = b'{"workflow_id": "text", "input": {"prompt": "x"}}'
    request = START + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connect(shared) as client:
        for _ in range(2):
            for place in range(0, len(request), 40):
                client.sendall(request[place : place + 40])
            answer = HTTPResponse(client)
            answer.begin()
            assert json.loads(answer.read())["output"] == "x"


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
@pytest.mark.parametrize("step", [10, 10_000])
def test_an_offer_of_another_protocol_is_passed_over(shared: Stack, offer: bytes, step: int) -> None:
    body = b'{"workflow_id": "text", "input": {"prompt": "x"}}'
    head = START + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n" % offer
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connect(shared) as client:
        for _ in range(2):
            for place in range(0, len(request), step):
                client.sendall(request[place : place + step])
            answer = HTTPResponse(client)
            answer.begin()
            assert json.loads(answer.read())["output"] == "x"


RUN = b'{"workflow_id": "text", "input": {"prompt": "x"}}'


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: gzip\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: 2\r\n\r\n{}{}",
        b"\r\n{}",
    ],
)
def test_a_body_that_breaks_the_rules_of_http_is_told_so(shared: Stack, body: bytes) -> None:
    with connect(shared) as client:
        client.sendall(START + body)
        head, _, shown = client.recv(65_536).partition(b"\r\n\r\n")
        assert client.recv(1) == b""
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(shown)["error"]["code"] == "invalid_http"


def test_trailers_are_no_headers(shared: Stack) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(RUN), RUN)
    trailers = b"Host: evil.example\r\nOrigin: https://evil.example\r\nIdempotency-Key: k\r\n\r\n"
    with connect(shared) as client:
        client.sendall(START + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + trailers)
        answer = HTTPResponse(client)
        answer.begin()
        assert json.loads(answer.read())["output"] == "x"


@pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_requests_behind_each_other_are_answered_in_order(shared: Stack, offer: bytes) -> None:
    with connect(shared) as client, client.makefile("rb") as answers:
        for _ in range(3):
            paths = [b"/v1/models/m%d." % number for number in range(MOST_PIPELINED)]
            client.sendall(b"".join(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path, offer) for path in paths))
            for path in paths:
                length = int(re.findall(rb"(?i)length: (\d+)", b"".join(iter(answers.readline, b"\r\n")))[0])
                assert path.rpartition(b"/")[2] in answers.read(length)


@pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_requests_behind_each_other_without_end_are_not_kept(shared: Stack, offer: bytes) -> None:
    many = (b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % offer) * 1000
    sent, _ = flood(shared, b"", many)
    assert sent < 10_000_000
    assert shared.get("/health").status_code == 200


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def served(answer: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of a server that answers everything with this, in the same process."""
    config = uvicorn.Config(Response(answer), log_config=None, access_log=False, timeout_keep_alive=1)
    config.load()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Connection(config, ServerState(), {}), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=4096)
        async with asyncio.timeout(10):
            yield reader, writer
        writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", b"GET", GET, b"\r\n"])
@pytest.mark.parametrize("again", [False, True])
async def test_a_head_that_does_not_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, again: bool
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.05)
    async with served(b"answer") as (reader, writer):
        if again:
            writer.write(GET + b"\r\n")
            await reader.readuntil(b"answer")
        writer.write(sent)
        assert await reader.read() == b""


ANSWER = b"x" * 20_000_000


async def test_a_client_that_stops_reading_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STUCK_S", 0.05)
    given_up = asyncio.Event()
    lose = Connection.connection_lost

    def lost(self: Connection, error: Exception | None) -> None:
        lose(self, error)
        given_up.set()

    monkeypatch.setattr(Connection, "connection_lost", lost)
    async with served(ANSWER) as (_, writer):
        writer.write(GET + b"\r\n")
        await given_up.wait()


async def test_a_client_that_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STUCK_S", 0.2)
    async with served(ANSWER) as (reader, writer):
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        left, began = len(ANSWER), time.monotonic()
        while left:
            left -= len(await reader.readexactly(min(left, 1_000_000)))
            await asyncio.sleep(0.05)
        assert time.monotonic() - began > 3 * connection.STUCK_S
