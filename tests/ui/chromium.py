#!/usr/bin/env python3
"""Starts this machine's Chromium without a view of the machine's networks.

Chromium drops the connections that it is making whenever an address comes or goes, and every network of containers
brings one. Where it may not open a netlink socket to the kernel, it takes the networks for lasting.
"""

import ctypes
import errno
import os
import platform
import shutil
import struct
import sys
from typing import Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_SOCKET_CALL: Final = {"x86_64": 41, "aarch64": 198}
_AF_NETLINK: Final = 16

_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_MODE_FILTER: Final = 2
_LOAD, _JUMP_UNLESS, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16
_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000


def find_chromium() -> str | None:
    """Debian's, or another one on the path."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def _forbid_netlink() -> None:
    """For this process and all that it starts: seccomp answers `socket(AF_NETLINK, ...)`."""
    number = _SOCKET_CALL.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    steps = (
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_UNLESS, 0, 3, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_UNLESS, 0, 1, _AF_NETLINK),
        (_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    )
    written = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(written))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    chromium = find_chromium() or sys.exit("there is no Chromium on this machine")
    _forbid_netlink()
    os.execv(chromium, [chromium, *sys.argv[1:]])
