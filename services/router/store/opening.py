"""Which database the settings mean."""

from pathlib import Path

from services.router.settings import PostgresSettings, SqliteSettings
from services.router.store.run_store import RunStore
from services.router.store.sqlite import open_sqlite


def open_store(settings: SqliteSettings | PostgresSettings | None) -> RunStore:
    """The store of asynchronous runs; without settings one that ends with this process. Raises StoreError."""
    match settings:
        case PostgresSettings():
            from services.router.store.postgres import open_postgres  # its library is not needed otherwise

            return RunStore(open_postgres(settings.url))
        case SqliteSettings():
            return RunStore(open_sqlite(Path(settings.path)))
        case None:
            return RunStore(open_sqlite(None))
