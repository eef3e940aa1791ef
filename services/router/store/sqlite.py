"""Runs in one SQLite file, for one router: nothing to install, and a commit is one sync of the write-ahead log."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services.router.store.database import (
    SCHEMA_VERSION,
    Row,
    Statement,
    StoreError,
    StoreUnavailable,
    other_version,
)
from services.router.store.schema import TABLES

_BUSY_S = 5
_LOG_BYTES = 64_000_000
_CHECKPOINT_PAGES = 4000
"""Four times SQLite's own number: under load the copying from the log into the file is most of the work."""
_PAGES_AT_ONCE = 512
_MOST_PAGES_IN_MEMORY = 65_536
"""256 MB: runs that do not fit any more are refused."""
_CHECKED_BYTES = 256_000_000
"""A larger file is not looked through at the start: it takes seconds."""
_ANOTHER_PLACE = "make room or give it the right, or give `controller.database` another place"


class Sqlite:
    """One connection; made by `open_sqlite`."""

    skip_locked = ""

    def __init__(self, path: Path | None, clock: Callable[[], float], lock: int | None = None) -> None:
        self.durable = path is not None
        self._path = path
        self._clock = clock
        self._lock = lock
        name = ":memory:" if path is None else str(path)
        self._connection = sqlite3.connect(name, _BUSY_S, isolation_level=None, check_same_thread=False)
        self._connection.create_function("seconds", 0, clock)

    def execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            self._connection.execute("begin")
            rows = [self._connection.execute(sql, parameters).fetchall() for sql, parameters in statements]
            self._connection.execute("commit")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise StoreUnavailable(_reason(error)) from error
        return rows

    def reader(self) -> "Sqlite":
        return self if self._path is None else Sqlite(self._path, self._clock)

    def shrink(self) -> None:
        # A script, because it frees one page at each step, and `execute` takes only one step when no rows come.
        self._connection.executescript(f"pragma incremental_vacuum({_PAGES_AT_ONCE})")

    def close(self) -> None:
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def prepare(self) -> None:
        """Make the tables, or see that they are ours, and free what an earlier router held.

        A file has one router at a time, so nobody can still be at work on anything.
        """
        execute = self._connection.execute
        found = execute("pragma user_version").fetchone()[0]
        if found not in (0, SCHEMA_VERSION):
            raise other_version(found)
        if self._path is not None and self._path.stat().st_size <= _CHECKED_BYTES:
            (state,) = execute("pragma quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
        execute("pragma auto_vacuum = incremental")
        execute("pragma journal_mode = wal")
        execute("pragma synchronous = full")
        execute(f"pragma journal_size_limit = {_LOG_BYTES}")
        if self._path is None:
            execute(f"pragma max_page_count = {_MOST_PAGES_IN_MEMORY}")
        execute(f"pragma wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        execute("begin immediate")
        if found == 0:
            for definition in TABLES:
                execute(definition)
            execute(f"pragma user_version = {SCHEMA_VERSION}")
        execute("update runs set owner = null, lease_until = null where ended_at is null and owner is not null")
        execute("commit")


def open_sqlite(path: Path | None, clock: Callable[[], float] | None = None) -> Sqlite:
    """The database of this file, readable by nobody else; in memory without a path.

    clock: epoch seconds that never jump while this process lives.

    Raises StoreError when the file is no such database, cannot be written, or belongs to another router.
    """
    lock = None if path is None else _lock(path)
    database = Sqlite(path, clock or steady_clock(), lock)
    try:
        database.prepare()
    except sqlite3.Error as error:
        database.close()
        raise _unusable(path, error) from None
    except StoreError:
        database.close()
        raise
    return database


def steady_clock() -> Callable[[], float]:
    """Epoch seconds of now, and on by the monotonic clock: a clock that is set moves no deadline and no lease."""
    began = time.time() - time.monotonic()
    return lambda: began + time.monotonic()


def _lock(path: Path) -> int:
    """Take the file for this process; the system gives it back when the process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"the database of runs {path} cannot be written: {os.strerror(error.errno or 0)}",
            _ANOTHER_PLACE,
            may_pass=False,
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError(
            f"the database of runs {path} is in use by another router",
            "stop that one, or give `controller.database` another place; several routers can share PostgreSQL",
        ) from None
    return lock


def _unusable(path: Path | None, error: sqlite3.Error) -> StoreError:
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(f"the database of runs {path} cannot be used: {_reason(error)}", _ANOTHER_PLACE)
    return StoreError(
        f"the database of runs {path} is damaged, or is no SQLite database",
        "move the file away; a new one is made, without the runs of the old one",
        may_pass=False,
    )


def _reason(error: sqlite3.Error) -> str:
    """SQLite's own name of an error, such as SQLITE_FULL."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
