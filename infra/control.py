"""How a command reaches the run of a folder: one line of JSON each way, over a socket that only its user can open."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from infra import net
from infra.unit import UnitState, UnixAddress

Verb = Literal["stop", "start", "restart"]

RELEASE: Final = "release"
"""In place of a verb: end the run, and let its containers go on for the one that asks."""

_NAME: Final = "control"
"""In the folder of sockets, where a service's name has `.sock` behind it."""


@dataclass(frozen=True, slots=True)
class Command:
    """What shall happen to some services, by name."""

    verb: Verb | Literal["release"]
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a service is after a command.

    acted: whether there was anything to do. error, hint, exit_code: why it failed, where it did.
    """

    service: str
    acted: bool
    state: UnitState
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0


Handler = Callable[[Command], Awaitable[Sequence[Outcome]]]


@contextlib.asynccontextmanager
async def listening(sockets: Path, handle: Handler) -> AsyncIterator[None]:
    """Take commands inside the block; each answer comes once its command is carried out.

    A command whose sender has left is carried out all the same.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            command = Command(request["verb"], tuple(request["services"]))
            outcomes = await handle(command)
            writer.write(json.dumps([asdict(outcome) for outcome in outcomes]).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nobody of ours asked, or nobody listens any more
        finally:
            writer.close()

    listener = net.listen(_NAME, UnixAddress(str(sockets / _NAME)))
    server = await asyncio.start_unix_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()


async def send(sockets: Path, command: Command) -> list[Outcome] | None:
    """Have a command carried out; None when the run ended first. The caller sets the time limit."""
    try:
        reader, writer = await asyncio.open_unix_connection(os.fspath(sockets / _NAME))
    except OSError:
        return None
    try:
        writer.write(json.dumps(asdict(command)).encode() + b"\n")
        answer = await reader.readline()
    except OSError:
        return None
    finally:
        writer.close()
    return [Outcome(**outcome) for outcome in json.loads(answer)] if answer else None
