"""How many runs a SQLite database keeps for the router's next start, asked while no router has it open."""

import sqlite3
from contextlib import closing
from pathlib import Path


def kept_runs(path: Path) -> int:
    """Accepted runs that have not ended; 0 where there is no such database, or it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            (count,) = database.execute("select count(*) from runs where ended_at is null").fetchone()
    except sqlite3.Error:
        return 0
    return int(count)
