"""What the converting child may do, and what ends it."""

import os
from typing import Any

import pytest

from builders.unpickle import ForbiddenError, watch

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.__new__", (None, 2, 1, 0)),
        ("socket.connect", (None, ("127.0.0.1", 80))),
        ("socket.getaddrinfo", ("example.org", 443, 0, 0, 0)),
        ("subprocess.Popen", ("sh", ["sh"], None, None)),
        ("os.system", (b"true",)),
        ("os.exec", ("sh", [], None)),
        ("os.posix_spawn", ("sh", [], {})),
        ("os.fork", ()),
        ("ctypes.dlopen", ("libc.so.6",)),
        ("pickle.find_class", ("os", "system")),
        ("os.remove", ("x", -1)),
        ("os.rename", ("x", "y", -1, -1)),
        ("shutil.rmtree", ("x", None)),
        ("open", ("x", "w", 0)),
        ("open", ("x", "r+", 0)),
        ("open", ("x", "ab", 0)),
        ("open", ("x", None, os.O_WRONLY | os.O_CREAT)),
        ("open", ("x", None, os.O_RDWR)),
    ],
)
def test_reaching_out_is_forbidden(event: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ForbiddenError):
        watch(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("x", "r", os.O_RDONLY | os.O_CLOEXEC)),
        ("open", ("x", "rb", os.O_RDONLY)),
        ("open", ("x", None, os.O_RDONLY | os.O_CLOEXEC)),
        ("import", ("json", None, None, None, None)),
        ("exec", (None,)),
        ("os.listdir", (".",)),
    ],
)
def test_reading_and_computing_are_allowed(event: str, arguments: tuple[Any, ...]) -> None:
    watch(event, arguments)
