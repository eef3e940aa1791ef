"""Stock `bentoml serve`, as somebody runs it who has a Bento and BentoML."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.net import free_port


@dataclass(frozen=True, slots=True)
class Served:
    """A Bento that is ready. log: what it prints."""

    port: int
    log: Path

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "null")


@contextlib.contextmanager
def served(bento: Path, folder: Path) -> Iterator[Served]:
    """The Bento, from an empty folder, until the block ends. folder: for its log and BentoML's store."""
    port = free_port()
    made = Served(port, folder / "log")
    command = [sys.executable, "-m", "bentoml", "serve", str(bento), "--host", "127.0.0.1", "--port", str(port)]
    (folder / "empty").mkdir()
    with made.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder / "empty",
            stdout=log,
            stderr=log,
            env={**os.environ, "BENTOML_HOME": str(folder / "home")},
        )
    try:
        status = 0
        while status != 200:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                pytest.fail(made.log.read_text())
            with contextlib.suppress(OSError):
                status, _ = made.ask("GET", "/readyz")
        yield made
    finally:
        process.terminate()
        process.wait()
