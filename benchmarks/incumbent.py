"""Runs the incumbent, the PyPI package `model-compose` 0.4.120, from a virtual environment of its own.

`python -m benchmarks.peers.environments incumbent` makes it, in benchmarks/.peers/incumbent.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def command(environment: Path) -> Path:
    return environment / "bin" / "model-compose"


@contextlib.contextmanager
def serving(environment: Path, folder: Path, file: str, port: int) -> Iterator[None]:
    """The file's services inside the block, from when `port` takes connections; raises SystemExit when they fail."""
    (folder / "model-compose.yml").write_text(file, encoding="utf-8")
    log_path = folder / "up.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [command(environment), "up"], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the incumbent did not start:\n{log_path.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C, and what helps when that does not; it leads a session, and none of that is left."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
