"""Reads the shell blocks of a Markdown document and runs them as a reader would."""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY = "http://127.0.0.1:8080/api/ready"


def shell_blocks(document: Path) -> list[str]:
    """The text of every ```sh block, in order."""
    return [match.group(1) for match in BLOCK.finditer(document.read_text(encoding="utf-8"))]


@dataclass
class Reader:
    """Runs blocks, each from the document's own folder.

    A block that ends in a plain `model-compose up` stays open, as in a terminal of its own, until the next one or the
    end.
    """

    folder: Path
    environment: Mapping[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, block: str) -> str:
        """The block's standard output; raises AssertionError with everything it printed when a command fails."""
        if block.rstrip().endswith("model-compose up"):
            self.start(block)
            return ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, block: str) -> None:
        self.close()
        with self.log.open("wb") as log:
            self.running = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", re.sub(r"model-compose up\s*$", "exec model-compose up", block)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not is_ready():
            assert self.running.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def close(self) -> None:
        """Ctrl-C in that terminal: it must end cleanly."""
        if self.running is not None:
            os.killpg(self.running.pid, signal.SIGINT)
            assert self.running.wait(timeout=60) == 0, self.log.read_text()
            self.running = None


def is_ready() -> bool:
    try:
        with urllib.request.urlopen(READY, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
