"""Locks between processes. The system holds them, so whoever ends, however it ends, lets go."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def _ignore() -> None:
    pass


@contextlib.contextmanager
def only_one(lock: Path, waiting: Callable[[], None] = _ignore) -> Iterator[None]:
    """Wait until no other process is in a block with this lock file, then be the one that is. Raises OSError.

    waiting: called before it waits.
    """
    with _held(lock, fcntl.LOCK_EX, waiting):
        yield


@contextlib.contextmanager
def not_alone(lock: Path, waiting: Callable[[], None] = _ignore) -> Iterator[None]:
    """Be in a block with this lock file beside others of this kind, while nobody is in one of `only_one`."""
    with _held(lock, fcntl.LOCK_SH, waiting):
        yield


@contextlib.contextmanager
def _held(lock: Path, kind: int, waiting: Callable[[], None]) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, kind)
        yield


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for this folder, then be the one that is. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
