"""A router that cannot use its database says so in its last line, and whether another start may help."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from services.router.settings import RouterSettings
from services.router.store.database import SCHEMA_VERSION
from services.router.store.sqlite import open_sqlite
from tests.services.router.rig import chat, workflow

pytestmark = pytest.mark.server


def start(folder: Path, database: Path) -> subprocess.CompletedProcess[str]:
    settings = RouterSettings.model_validate(
        {"components": [chat()], "workflows": [workflow()], "database": {"driver": "sqlite", "path": str(database)}}
    )
    path = folder / "router.json"
    path.write_text(settings.model_dump_json())
    command = [sys.executable, "-P", "-m", "services.router.app", str(path), "--host", "127.0.0.1", "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_database_of_another_version_is_hopeless(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    connection = sqlite3.connect(database)
    connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    ended = start(tmp_path, database)
    assert ended.returncode == os.EX_UNAVAILABLE
    assert ended.stderr.splitlines()[-1] == (
        f"the database of runs has the layout of another version of model-compose ({SCHEMA_VERSION + 1}, this one uses "
        f"{SCHEMA_VERSION}); use that version to finish its runs, or give `controller.database` another place"
    )


def test_a_damaged_database_is_hopeless(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    database.write_bytes(b"no database at all" * 100)
    ended = start(tmp_path, database)
    assert ended.returncode == os.EX_UNAVAILABLE
    assert ended.stderr.splitlines()[-1] == (
        f"the database of runs {database} is damaged, or is no SQLite database; move the file away; a new one is made, "
        "without the runs of the old one"
    )


def test_a_database_that_another_router_uses_may_be_free_later(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    with contextlib.closing(open_sqlite(database)):
        ended = start(tmp_path, database)
    assert ended.returncode == os.EX_OSERR
    assert ended.stderr.splitlines()[-1].startswith(f"the database of runs {database} is in use by another router; ")
