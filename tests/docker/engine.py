"""One real Docker engine for all tests: a running one, or else one that lives as long as they do."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.skipping import skip

SCRIPT = Path(__file__).parents[2] / "infra" / "engine" / "engine"
_FOLDER = Path(tempfile.gettempdir()) / "engine"
_OURS = f"unix://{_FOLDER}/docker.sock"
_STARTED_BY_TESTS = _FOLDER / "started-by-tests"
_TIMEOUT_S = 90


@contextmanager
def docker_engine() -> Iterator[str]:
    """The engine's address, as `DOCKER_HOST` takes it.

    Processes of tests that run at the same time share one engine; the last of them ends it if they started it.
    """
    running = next(filter(_answers, _known_addresses()), None)
    if running and not _STARTED_BY_TESTS.exists():
        yield running
        return
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        _start()
        yield _OURS
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else still needs it
        _STARTED_BY_TESTS.unlink()
        subprocess.run([SCRIPT, "stop", _FOLDER], check=True, timeout=_TIMEOUT_S)


def _known_addresses() -> list[str]:
    return [os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), _OURS]


def _answers(address: str) -> bool:
    command = ["docker", "--host", address, "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=_TIMEOUT_S).returncode == 0
    except FileNotFoundError:
        return False


def _start() -> None:
    _STARTED_BY_TESTS.touch()
    started = subprocess.run(
        [SCRIPT, "start", _FOLDER], check=False, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    if started.returncode:
        _STARTED_BY_TESTS.unlink()
        skip(f"no Docker engine: {started.stderr.strip()}")
