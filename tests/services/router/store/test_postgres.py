"""PostgreSQL may be away, of another version, or come back: one sentence at the start, and no lost run later."""

from contextlib import suppress

import psycopg
import pytest

from services.router.store.database import SCHEMA_VERSION, Statement, StoreError, StoreUnavailable
from services.router.store.postgres import open_postgres

pytestmark = pytest.mark.server


def test_a_server_that_is_away_is_one_sentence_without_its_url() -> None:
    with pytest.raises(StoreError) as caught:
        open_postgres("postgresql://user:secret@127.0.0.1:1/x?connect_timeout=1")
    assert caught.value.message == "the PostgreSQL database of runs cannot be used: no connection"


def test_a_url_that_is_none_is_one_sentence() -> None:
    with pytest.raises(StoreError):
        open_postgres("nonsense")


def test_a_schema_of_another_version_is_left_alone(postgres: str) -> None:
    open_postgres(postgres).close()
    with psycopg.connect(postgres) as connection:
        connection.execute("update model_compose.layout set version = version + 1")
    with pytest.raises(StoreError, match=rf"another version of model-compose \({SCHEMA_VERSION + 1}, this one"):
        open_postgres(postgres)


def test_a_connection_that_was_lost_is_opened_again(postgres: str) -> None:
    database = open_postgres(postgres)
    statement = Statement("select pg_backend_pid()", {})
    ((pid,),) = database.execute([statement])[0]
    with psycopg.connect(postgres) as connection:
        connection.execute("select pg_terminate_backend(%s)", [pid])
    with suppress(StoreUnavailable):  # the loss may be seen once
        database.execute([statement])
    assert database.execute([statement])[0] != [(pid,)]
    database.close()
