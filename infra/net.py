"""Sockets that are bound before anybody serves on them, and the one small request that asks a service how it is."""

import asyncio
import errno
import json
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import ExitCode, UserError
from infra.folder import project_of
from infra.unit import Address, TcpAddress, UnixAddress

if TYPE_CHECKING:
    import psutil

BACKLOG = 1024
MAX_ANSWER_BYTES = 1_000_000
_LONGEST_FOLDER = 40
"""Characters; a socket's path has room for about 100 on every system, and the service's name comes after the folder."""


def make_socket_directory() -> Path:
    """A fresh folder of mode 0700 with a short path, under the runtime folder or else the temporary one."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - mkdtemp makes a private folder in it
    for candidate in candidates:
        if candidate and len(candidate) <= _LONGEST_FOLDER and os.access(candidate, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="model-compose-", dir=candidate))
    raise UserError(
        "there is no folder for sockets: neither XDG_RUNTIME_DIR nor the temporary folder can be written",
        hint="set TMPDIR to a writable folder with a short path",
        exit_code=ExitCode.ENVIRONMENT,
    )


def listen(service: str, address: Address) -> socket.socket:
    """A bound, listening socket for `service`; raises UserError, naming the owner of a port that is taken."""
    try:
        return _listen_unix(address) if isinstance(address, UnixAddress) else _listen_tcp(address)
    except OSError as error:
        raise _refusal(service, address, error) from None


def require_free(service: str, address: TcpAddress) -> None:
    """For an address that somebody else is to bind. Raises UserError, naming the owner, when it is taken or not here.

    What only we may not do, such as to bind a low port, is no reason.
    """
    try:
        _listen_tcp(address).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            raise _refusal(service, address, error) from None


def resolved(service: str, address: TcpAddress) -> TcpAddress:
    """The same with a number in place of a host's name, of version 4 where there is one.

    Raises UserError for a name that nobody has.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _refusal(service, address, error) from None
    best = min(found, key=lambda each: each[0] != socket.AF_INET)
    return TcpAddress(str(best[4][0]), address.port)


def _listen_unix(address: UnixAddress) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            listener.bind(address.path)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_tcp(address: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)


def bound_address(listener: socket.socket, wanted: Address) -> Address:
    """Where a socket really listens: port 0 has become a port."""
    return wanted if isinstance(wanted, UnixAddress) else TcpAddress(wanted.host, listener.getsockname()[1])


def address_text(address: Address) -> str:
    """How people see it: `http://127.0.0.1:8080`, or `unix:/path`."""
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _refusal(service: str, address: Address, error: OSError) -> UserError:
    if isinstance(address, UnixAddress):
        return UserError(
            f"the socket of {service} cannot be made at {address.path}: {_reason(error)}",
            hint="set XDG_RUNTIME_DIR or TMPDIR to a writable folder with a short path, or shorten the component's id",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if error.errno == errno.EADDRINUSE:
        owner = _port_owner(address.port)
        remedy = (
            f"end it with `model-compose down` in {owner.project}" if owner and owner.project else "end that process"
        )
        free = _free_port(address.host)
        return UserError(
            f"port {address.port} of {service} is taken{f' by {owner}' if owner else ''}",
            hint=f"{remedy}, or set another port in the file" + (f"; {free} is free" if free else ""),
            exit_code=ExitCode.ENVIRONMENT,
        )
    return UserError(
        f"{service} cannot listen on {address.host} port {address.port}: {_reason(error)}",
        hint="set another host or port in the file",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return "permission denied"
        case errno.EADDRNOTAVAIL:
            return "no such address on this machine"
        case None:
            return "the path is too long"
        case socket.EAI_NONAME:
            return "no such host"
        case code:
            return os.strerror(code).lower()


@dataclass(frozen=True, slots=True)
class _PortOwner:
    """Who listens on a port; project: the folder of its file, when it is a service of one."""

    name: str
    pid: int
    project: Path | None

    def __str__(self) -> str:
        name = f"the services of {self.project}" if self.project else self.name
        return f"{name} (process {self.pid})"


def _port_owner(port: int) -> _PortOwner | None:
    """Who listens on a TCP port, where the system lets us know."""
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                process = psutil.Process(connection.pid)
                return _PortOwner(process.name(), process.pid, _project(process))
    except psutil.Error:
        pass
    return None


def _project(process: "psutil.Process") -> Path | None:
    import psutil

    try:
        return project_of(Path(process.cwd()))
    except psutil.Error:  # somebody else's
        return None


def _free_port(host: str) -> int | None:
    try:
        with _listen_tcp(TcpAddress(host, 0)) as listener:
            port: int = listener.getsockname()[1]
            return port
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said; `body` is None unless it is JSON."""

    status: int
    body: Any


async def get(address: Address, path: str, *, headers: tuple[str, ...] = ()) -> Answer:
    """One GET request; the caller sets the time limit. Raises OSError or ValueError when no answer comes.

    HTTP/1.0 keeps it this small: the answer is never chunked and ends with the connection.
    """
    reader, writer = await _connect(address)
    try:
        lines = [f"GET {path} HTTP/1.0", "Host: localhost", "Accept: application/json", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        data = await reader.read(MAX_ANSWER_BYTES)
        while more := await reader.read(MAX_ANSWER_BYTES):
            data += more
    finally:
        writer.close()
    return _parse_answer(data)


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, UnixAddress):
        return await asyncio.open_unix_connection(address.path)
    any_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
    return await asyncio.open_connection(any_host.get(address.host, address.host), address.port)


def _parse_answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        status = int(head.split(b" ", 2)[1])
    except IndexError:
        raise ValueError("no HTTP answer") from None
    try:
        return Answer(status, json.loads(body))
    except ValueError:
        return Answer(status, None)
