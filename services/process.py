"""How every process of ours starts: its arguments, its socket, and its promise not to outlive its parent.

Standard library only, so that a child can call `start()` before it imports anything heavy: from then on it ends with
its parent, also when the parent is killed with -9 while the child still imports.
"""

import argparse
import ctypes
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PARENT_FD = "MODEL_COMPOSE_PARENT_FD"
"""Environment variable: the descriptor of a pipe's reading end, whose writing end only the parent holds."""

EVERYWHERE = "::"
"""The host of a service that listens at every address of its machine, of both families, as one in a container does."""

ORPHANED = 113
"""Exit code of a process whose parent is gone; nobody is left to read it, but a log may be."""

_PR_SET_PDEATHSIG = 1
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line of a child: `SETTINGS (--fd N | --host H --port P) [--parent PID]`."""

    settings: Path
    fd: int | None
    host: str
    port: int
    parent: int | None


def start(argv: Sequence[str] | None = None) -> Arguments:
    """Read the command line and tie this process to its parent. Call it first, from the main thread."""
    arguments = parse_arguments(argv)
    tie_to_parent(arguments.parent)
    return arguments


def parse_arguments(argv: Sequence[str] | None = None) -> Arguments:
    """Exits 2 with a usage line when the arguments do not fit."""
    parser = argparse.ArgumentParser(description="Started by model-compose; serves HTTP.", allow_abbrev=False)
    parser.add_argument("settings", type=Path, help="the file that says what to serve")
    parser.add_argument("--fd", type=int, help="descriptor of a bound, listening socket")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, without --fd")
    parser.add_argument("--port", type=int, default=0, help="TCP port to listen on, without --fd; 0 takes a free one")
    parser.add_argument("--parent", type=int, help="process that this one must not outlive")
    return Arguments(**vars(parser.parse_args(argv)))


def tie_to_parent(parent: int | None) -> None:
    """End this process, without any cleaning up, as soon as process `parent` ends; None ties only to the pipe, if any.

    Linux sends SIGKILL when the thread that started us ends, so parents start children from their main thread. The pipe
    works everywhere: it reads end-of-file once nobody holds its other end.
    """
    if parent is not None:
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above took effect
            os._exit(ORPHANED)
    descriptor = os.environ.pop(PARENT_FD, None)
    if descriptor is not None:
        os.set_inheritable(int(descriptor), False)
        threading.Thread(target=_exit_at_eof, args=(int(descriptor),), name="parent-watch", daemon=True).start()


def _exit_at_eof(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os._exit(ORPHANED)


def open_socket(arguments: Arguments) -> socket.socket:
    """The listening socket that the arguments name; raises OSError when it cannot be had."""
    if arguments.fd is None and arguments.host == EVERYWHERE:
        return _open_everywhere(arguments.port)
    if arguments.fd is None:
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        return socket.create_server((arguments.host, arguments.port), family=family, backlog=_BACKLOG)
    inherited = socket.socket(fileno=arguments.fd)
    inherited.set_inheritable(False)
    return inherited


def _open_everywhere(port: int) -> socket.socket:
    """For IPv6 and IPv4 at once; where the machine has no IPv6, for IPv4 alone."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                (EVERYWHERE, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # the kernel knows IPv6, and was told to have no address of it
                raise
    return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 - that is what was asked for
