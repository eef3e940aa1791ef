"""An SQLite file is one router's, is private, is checked before it is used, and survives what it cannot keep."""

import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from services.router.store.database import SCHEMA_VERSION, Statement, StoreError, StoreUnavailable
from services.router.store.schema import TABLES
from services.router.store.sqlite import open_sqlite, steady_clock
from services.router.store.statements import ASKED_TO_END, CLAIM, END_OVERDUE, WAITING

pytestmark = pytest.mark.unit

INSERT = """
insert into finished_jobs (run, job, part, visit, record) values (:run, 'j', 0, 1, :record) returning run
"""


def insert(run: str, record: str = "{}") -> Statement:
    return Statement(INSERT, {"run": run, "record": record})


def problem(path: Path) -> tuple[str, str]:
    with pytest.raises(StoreError) as caught:
        open_sqlite(path)
    return caught.value.message.replace(str(path), "FILE"), caught.value.hint


def test_the_file_is_nobody_elses_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.db"
    open_sqlite(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_has_one_router_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    first = open_sqlite(path)
    message, hint = problem(path)
    assert message == "the database of runs FILE is in use by another router"
    assert "PostgreSQL" in hint
    first.close()
    open_sqlite(path).close()


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    message, _ = problem(path)
    assert message == (
        f"the database of runs has the layout of another version of model-compose ({SCHEMA_VERSION + 1}, this one "
        f"uses {SCHEMA_VERSION})"
    )
    assert path.read_bytes() == before


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"my diary" * 1000)
    message, _ = problem(path)
    assert message == "the database of runs FILE is damaged, or is no SQLite database"
    assert path.read_bytes() == b"my diary" * 1000


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_refused_at_the_start(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "runs.db"
    database = open_sqlite(path)
    database.execute([insert(str(number), "x" * 1000) for number in range(200)])
    database.close()
    content = path.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    end = b"" if damage == "cut" else b"\xa5" * 8192 + content[middle + 8192 :]
    path.write_bytes(content[:middle] + end)
    message, hint = problem(path)
    assert message == "the database of runs FILE is damaged, or is no SQLite database"
    assert hint == "move the file away; a new one is made, without the runs of the old one"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message, _ = problem(tmp_path / "file" / "runs.db")
    assert message.startswith("the database of runs FILE cannot be written: ")


def test_a_batch_is_kept_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path / "runs.db")
    with pytest.raises(StoreUnavailable):
        database.execute([insert("a"), insert("a")])
    assert database.execute([insert("a")]) == [[("a",)]]
    database.close()


def test_a_full_disk_passes(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path / "runs.db")
    pages = database.execute([Statement("pragma page_count", {})])[0][0][0]
    database.execute([Statement(f"pragma max_page_count = {pages + 4}", {})])
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        database.execute([insert("large", "x" * 100_000)])
    assert database.execute([insert("small")]) == [[("small",)]]
    database.execute([Statement("pragma max_page_count = 100000", {})])
    assert database.execute([insert("large", "x" * 100_000)]) == [[("large",)]]
    database.close()


def test_deleted_rows_give_their_room_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    database = open_sqlite(path)
    database.execute([insert(str(index), "x" * 100_000) for index in range(20)])
    database.execute([Statement("delete from finished_jobs returning run", {})])
    pages = "pragma page_count"
    before = database.execute([Statement(pages, {})])[0][0][0]
    database.shrink()
    assert database.execute([Statement(pages, {})])[0][0][0] < before / 10
    database.close()


def test_the_clock_goes_on_when_the_systems_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before = clock()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert before <= clock() < before + 10


@pytest.mark.parametrize("statement", [CLAIM.format(skip_locked=""), WAITING, ASKED_TO_END, END_OVERDUE])
def test_what_is_asked_every_second_reads_no_run_that_has_ended(statement: str) -> None:
    """A day of runs is kept."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function("seconds", 0, time.time)
        for definition in TABLES:
            connection.execute(definition)
        parameters = dict.fromkeys(("owner", "most", "lease_s", "timeout_s", "outcome"), 1)
        plan = [str(row[3]) for row in connection.execute(f"explain query plan {statement}", parameters)]
    assert all("open_runs" in step for step in plan if step.startswith("SCAN runs")), plan
