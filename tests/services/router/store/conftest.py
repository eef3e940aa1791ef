"""The same tests over every database."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from services.router.store.database import Database
from services.router.store.postgres import open_postgres
from services.router.store.run_store import RunStore
from services.router.store.sqlite import open_sqlite
from tests.postgres import postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for all tests of this process."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """The server's URL, without any runs in it."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("drop schema if exists model_compose cascade")
    return postgres_url


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.unit),
        pytest.param("file", marks=pytest.mark.unit),
        pytest.param("postgres", marks=pytest.mark.server),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    opened: Database
    match request.param:
        case "memory":
            opened = open_sqlite(None)
        case "file":
            opened = open_sqlite(tmp_path / "runs.db")
        case _:
            opened = open_postgres(request.getfixturevalue("postgres"))
    yield opened
    opened.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[RunStore]:
    opened = RunStore(database)
    opened.start()
    yield opened
    await opened.stop()
