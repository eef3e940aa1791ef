"""A child reads its arguments, takes its socket and ends with its parent."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services import process

pytestmark = pytest.mark.unit

PARENT = """
import os, subprocess, sys
pipe = sys.argv[1] == "pipe"
read, write = os.pipe()
code = "from services import process; process.start(); print('up', flush=True); import time; time.sleep(600)"
argv = [sys.executable, "-c", code, "settings.json"] + ([] if pipe else ["--parent", str(os.getpid())])
environment = {**os.environ, process_fd: str(read)} if pipe else dict(os.environ)
child = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=[read], env=environment)
child.stdout.readline()
print(child.pid, flush=True)
os.read(0, 1)
""".replace("process_fd", repr(process.PARENT_FD))


def test_arguments_of_a_child() -> None:
    given = process.parse_arguments(["task.json", "--fd", "3", "--parent", "12"])
    assert given == process.Arguments(Path("task.json"), 3, "127.0.0.1", 0, 12)


def test_address_instead_of_a_descriptor() -> None:
    given = process.parse_arguments(["task.json", "--host", "::1", "--port", "8080"])
    assert given == process.Arguments(Path("task.json"), None, "::1", 8080, None)


def test_unknown_argument_exits_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        process.parse_arguments(["task.json", "--worker", "2"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --worker 2" in capsys.readouterr().err


def test_open_socket_binds_a_free_port() -> None:
    with process.open_socket(process.parse_arguments(["task.json"])) as listening:
        socket.create_connection(listening.getsockname()).close()


def reaches(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_open_socket_everywhere_is_reached_by_both_families() -> None:
    with process.open_socket(process.parse_arguments(["task.json", "--host", "::"])) as listening:
        port = listening.getsockname()[1]
        assert (reaches("127.0.0.1", port), reaches("::1", port)) == (True, True)


@pytest.mark.parametrize("missing", ["support", "addresses"])
def test_open_socket_everywhere_is_reached_where_there_is_no_ipv6(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_server = socket.create_server

    def without_addresses(address: tuple[str, int], **options: Any) -> socket.socket:
        if ":" in address[0]:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create_server(address, **options)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: missing != "support")
    monkeypatch.setattr(socket, "create_server", without_addresses)
    with process.open_socket(process.parse_arguments(["task.json", "--host", "::"])) as listening:
        assert listening.family == socket.AF_INET
        assert reaches("127.0.0.1", listening.getsockname()[1])


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_open_socket_everywhere_leaves_a_port_alone_that_one_family_has_taken() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            process.open_socket(process.parse_arguments(["task.json", "--host", "::", "--port", port]))


def test_open_socket_adopts_a_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        address, descriptor = bound.getsockname(), os.dup(bound.fileno())
    with process.open_socket(process.parse_arguments(["task.json", "--fd", str(descriptor)])) as listening:
        assert listening.getsockname() == address
        assert not listening.get_inheritable()


def test_child_of_a_dead_parent_ends_at_once() -> None:
    code = "from services import process; process.start(['task.json', '--parent', '1']); print('still here')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (process.ORPHANED, b"")


@pytest.mark.parametrize(
    "tie",
    ["pipe", pytest.param("signal", marks=pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG"))],
)
def test_child_ends_when_its_parent_is_killed(tie: str) -> None:
    argv = [sys.executable, "-c", PARENT, tie]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert parent.stdout.read() == b""
    wait_until_gone(child)


def wait_until_gone(pid: int) -> None:
    """Returns when the process is gone or only waits to be reaped; the test's own time-out bounds it."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
