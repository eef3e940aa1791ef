"""Runs in PostgreSQL, for several routers: they share its rows, its clock and its locks."""

import re
from collections.abc import Sequence
from functools import lru_cache

import psycopg

from services.router.store.database import (
    SCHEMA_VERSION,
    Row,
    Statement,
    StoreError,
    StoreUnavailable,
    other_version,
)
from services.router.store.schema import TABLES

_SCHEMA = "model_compose"
_CONNECT_S = 5
_LOCK = 0x6D6F64656C
"""The advisory lock under which routers that start at once make the tables one after the other."""
_CLOCK = """
create function seconds() returns double precision language sql volatile
as 'select cast(extract(epoch from clock_timestamp()) as double precision)'
"""
_PARAMETER = re.compile(r":(\w+)")


class Postgres:
    """One connection, opened again when it was lost; made by `open_postgres`."""

    durable = True
    skip_locked = "for update skip locked"

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Row] | None = None

    def execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self.connect()
            with self._connection.pipeline(), self._connection.transaction():
                cursors = [self._connection.execute(_translated(sql), values) for sql, values in statements]
                return [cursor.fetchall() for cursor in cursors]
        except psycopg.Error as error:
            raise StoreUnavailable(_reason(error)) from error

    def connect(self) -> psycopg.Connection[Row]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            options=f"-c search_path={_SCHEMA} -c statement_timeout=30s -c client_min_messages=warning",
            application_name="model-compose",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )

    def reader(self) -> "Postgres":
        return Postgres(self._url)

    def shrink(self) -> None:
        """Its own autovacuum does it."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def prepare(self) -> None:
        """Make the schema, or see that it is ours."""
        with self.connect() as connection, connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            connection.execute(f"create schema if not exists {_SCHEMA}")
            if connection.execute("select to_regclass('layout')").fetchone() == (None,):
                connection.execute("create table layout as select cast(%s as integer) as version", [SCHEMA_VERSION])
                connection.execute(_CLOCK)
                for definition in TABLES:
                    connection.execute(definition)
            found = connection.execute("select version from layout").fetchone()
            if found != (SCHEMA_VERSION,):
                raise other_version(found[0] if found else 0)


def open_postgres(url: str) -> Postgres:
    """The database at this URL. Raises StoreError when it cannot be reached, or has other tables than ours."""
    database = Postgres(url)
    try:
        database.prepare()
    except psycopg.Error as error:
        raise StoreError(
            f"the PostgreSQL database of runs cannot be used: {_reason(error)}",
            "see `controller.database` in the file, and that the server runs and lets this user create a schema",
        ) from None
    return database


@lru_cache(maxsize=64)
def _translated(sql: str) -> str:
    """With the placeholders of psycopg."""
    return _PARAMETER.sub(r"%(\1)s", sql)


def _reason(error: psycopg.Error) -> str:
    """PostgreSQL's own word for an error, such as DiskFull; its text may hold the URL."""
    return type(error).__name__ if error.sqlstate is not None else "no connection"
