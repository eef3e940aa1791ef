"""Sockets: bound once, private where they are files, and named clearly when they are taken."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from infra.errors import ExitCode, UserError
from infra.folder import RunFolder
from infra.net import address_text, bound_address, listen, make_socket_directory, require_free, resolved
from infra.processes import bind
from infra.unit import TcpAddress, UnixAddress
from tests.infra.rig import fake_unit

pytestmark = pytest.mark.server


def test_a_port_that_is_taken_names_its_owner_and_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as caught:
            listen("router", TcpAddress("127.0.0.1", port))
    assert caught.value.message.startswith(f"port {port} of router is taken by ")
    assert caught.value.message.endswith(f" (process {os.getpid()})")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("end that process, or set another port in the file; ")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_port_that_another_project_serves_on_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "state")
    folder.make()
    folder.empty.mkdir()
    folder.state.touch()
    monkeypatch.chdir(folder.empty)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as caught:
            listen("router", TcpAddress("127.0.0.1", port))
    assert caught.value.message == (
        f"port {port} of router is taken by the services of {tmp_path} (process {os.getpid()})"
    )
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(
        f"end it with `model-compose down` in {tmp_path}, or set another port in the file; "
    )


def test_a_host_that_is_not_ours_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError) as caught:
        listen("page", TcpAddress("203.0.113.7", 8081))
    assert caught.value.message == "page cannot listen on 203.0.113.7 port 8081: no such address on this machine"


def test_an_address_that_another_binds_may_be_one_that_we_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    require_free("router", TcpAddress("127.0.0.1", 80))


def test_an_address_that_another_binds_is_free_and_of_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="is taken by"):
        require_free("router", TcpAddress("127.0.0.1", taken.getsockname()[1]))
    with pytest.raises(UserError, match="no such address"):
        require_free("router", TcpAddress("203.0.113.7", 8080))


def test_a_host_becomes_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved("router", TcpAddress("localhost", 80)) == TcpAddress("127.0.0.1", 80)
    assert resolved("router", TcpAddress("::", 80)) == TcpAddress("::", 80)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError) as caught:
        resolved("router", TcpAddress("box.local", 80))
    assert caught.value.message == "router cannot listen on box.local port 80: no such host"


def test_a_socket_file_is_private_in_a_private_folder() -> None:
    folder = make_socket_directory()
    with listen("chat", UnixAddress(str(folder / "chat.sock"))):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "chat.sock").stat().st_mode) == 0o600
    assert len(str(folder)) < 70


def test_a_socket_path_that_is_too_long_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        listen("chat", UnixAddress(str(tmp_path / ("x" * 120))))
    assert caught.value.message.endswith("the path is too long")


def test_binding_is_all_or_nothing(tmp_path: Path) -> None:
    folder = make_socket_directory()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        units = [fake_unit("chat", folder), fake_unit("router", folder, kind="router")]
        router = units[1]
        object.__setattr__(router, "address", TcpAddress("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(UserError):
            bind(units)
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(folder / "chat.sock"))


def test_port_zero_becomes_a_port() -> None:
    with listen("router", TcpAddress("127.0.0.1", 0)) as listener:
        address = bound_address(listener, TcpAddress("127.0.0.1", 0))
    assert isinstance(address, TcpAddress)
    assert address.port > 0
    assert address_text(TcpAddress("::1", 80)) == "http://[::1]:80"
