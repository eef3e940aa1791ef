"""A PostgreSQL server that lives as long as the tests: its own folder, a Unix socket, and syncs as in earnest."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.skipping import skip

_VERSIONS = Path("/usr/lib/postgresql")
_START_S = 30


def _programs() -> Path:
    """The folder of `initdb` and `postgres`; where there is none only CI insists."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    installed = sorted(_VERSIONS.glob("*/bin/initdb"))
    if not installed:
        skip("PostgreSQL is not installed")
    return installed[-1].parent


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh server; root starts it as the user postgres, because it refuses root."""
    programs = _programs()
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="mc-pg-") as folder:
        data = Path(folder) / "data"
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        as_user = {"user": user if os.geteuid() == 0 else None, "cwd": folder, "env": {"LC_ALL": "C", "PATH": "/bin"}}
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **as_user)  # type: ignore[call-overload]  # options by name
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        with (data.parent / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, **as_user)  # type: ignore[call-overload]  # as above
        try:
            url = f"postgresql://postgres@/postgres?host={folder}"
            _wait_for(url)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # ends connections, then itself
            server.wait(_START_S)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
