"""Kept connections over real sockets: used again, replaced when stale, closed when their answer is not wanted."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from services.router.clients import link as link_module
from services.router.clients.link import Link, LinkError, Links

pytestmark = pytest.mark.unit

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def service(folder: Path | None, answer: Answer) -> AsyncIterator[Links]:
    """Links to a service that treats each connection like this; without a folder it has a TCP port."""

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    if folder is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        links = Links(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    else:
        server = await asyncio.start_unix_server(serve, str(folder / "task.sock"))
        links = Links(f"unix:{folder}/task.sock")
    async with server:
        yield links
        links.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*filter(None, serving))


async def ask(links: Links, body: bytes = b"{}") -> Link:
    link = await links.open()
    await link.ask(links.request("POST", "/predict", body))
    return link


async def read_all(link: Link) -> bytes:
    body = b""
    while chunk := await link.read():
        body += chunk
    return body


async def test_a_request_has_its_headers_and_its_body() -> None:
    links = Links("http://models.example:9000/")
    assert links.request("POST", "/predict", b"{}", {"traceparent": "00-1"}) == (
        b"POST /predict HTTP/1.1\r\nHost: models.example:9000\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\ntraceparent: 00-1\r\n\r\n{}"
    )


async def test_a_link_is_used_again_when_its_answer_was_read(folder: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(2)
            for piece in (HEAD, b"2\r\n", body + b"\r\n0", b"\r\n\r\n"):
                writer.write(piece)
                await asyncio.sleep(0)

    async with service(folder, echo) as links:
        used = set()
        for body in (b"ab", b"cd"):
            link = await ask(links, body)
            assert (link.status, await read_all(link)) == (200, body)
            links.give_back(link)
            used.add(link)
        assert len(used) == 1


async def test_a_link_whose_answer_is_not_read_is_closed(folder: Path) -> None:
    closed = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"1\r\na\r\n")
        await reader.read()
        closed.set()

    async with service(folder, endless) as links:
        link = await ask(links)
        assert await link.read() == b"a"
        links.give_back(link)
        async with asyncio.timeout(5):
            await closed.wait()


async def test_a_link_that_is_cancelled_before_its_head_is_closed(folder: Path) -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()

    async with service(folder, silent) as links:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(links)
        async with asyncio.timeout(5):
            await closed.wait()


@pytest.mark.parametrize(("longest_s", "connections"), [(60, 1), (0, 2)])
async def test_behind_a_name_others_are_found_after_a_while(
    monkeypatch: pytest.MonkeyPatch, longest_s: float, connections: int
) -> None:
    """Under load a link is never idle, and who was started meanwhile would get no request."""
    monkeypatch.setattr(link_module, "_LONGEST_S", longest_s)
    served = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(EMPTY)

    async with service(None, answer) as links:
        for _ in range(2):
            link = await ask(links)
            await read_all(link)
            links.give_back(link)
    assert served == connections


@pytest.mark.parametrize("answer", [EMPTY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), EMPTY])
async def test_a_link_that_the_service_closed_or_that_is_old_is_not_used_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(link_module, "_KEEP_ALIVE_S", 0)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async with service(folder, once) as links:
        used = set()
        for _ in range(2):
            link = await ask(links)
            assert (link.status, await read_all(link)) == (204, b"")
            links.give_back(link)
            used.add(link)
        assert len(used) == 2


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", HEAD + b"5\r\nab", b"\x00\x01\x02", HEAD + b"nonsense\r\n"], ids=str
)
async def test_an_answer_that_breaks_off_or_makes_no_sense_is_an_error(folder: Path, answer: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)

    async with service(folder, broken) as links:
        with pytest.raises(LinkError) as error:
            await read_all(await ask(links))
        assert not error.value.unread


async def test_a_request_that_was_not_read_is_told_apart(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "task.sock"))
        listener.listen()
        links = Links(f"unix:{folder}/task.sock")
        link = await links.open()
        asking = asyncio.create_task(link.ask(links.request("GET", "/readyz")))
        await asyncio.sleep(0)  # sent
        listener.accept()[0].close()
        with pytest.raises(LinkError) as error:
            await asking
        assert error.value.unread


async def test_nobody_there_is_an_os_error(folder: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await Links(f"unix:{folder}/nobody.sock").open()


async def test_whoever_waits_can_be_told_to_stop(folder: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with service(folder, silent) as links:
        link = await links.open()
        asking = asyncio.create_task(link.ask(links.request("GET", "/livez")))
        await asyncio.sleep(0)
        link.fail(ValueError("enough"))
        with pytest.raises(ValueError, match="enough"):
            await asking


async def test_a_service_whose_answer_nobody_reads_is_held_back(folder: Path) -> None:
    sent = 0
    stuck = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n{}")
        writer.transport.set_write_buffer_limits(0)
        writer.write(HEAD)
        for _ in range(1000):
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            try:
                async with asyncio.timeout(0.2):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()
            sent += 0x1000
        writer.write(b"0\r\n\r\n")

    async with service(folder, flood) as links:
        link = await ask(links)
        async with asyncio.timeout(10):
            await stuck.wait()
        assert sent < 2_000_000  # most of it in the kernel
        first = await link.read()
        assert len(first) < 32 * 1024
        assert len(first) + len(await read_all(link)) == 1000 * 0x1000
