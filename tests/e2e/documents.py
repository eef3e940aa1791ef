"""Reads the blocks of a Markdown document: commands to run as a reader would, what they print, and whole files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
PROGRAMS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
"""How the blocks that do something are run, by their language."""
READY = "http://127.0.0.1:8080/api/ready"


@dataclass(frozen=True)
class Block:
    """One fenced block. shown: what follows it as ```json or ```text, the output of a command or program."""

    language: str
    text: str
    section: str
    shown: "Block | None" = None


def blocks(document: Path) -> list[Block]:
    """Every block of the document, in order."""
    found: list[Block] = []
    text = document.read_text(encoding="utf-8")
    for match in reversed(list(BLOCK.finditer(text))):
        after = found[0] if found and found[0].language in ("json", "text") else None
        section = ["", *HEADING.findall(text, 0, match.start())][-1]
        found.insert(0, Block(match.group(1), match.group(2), section, after if match.group(1) in PROGRAMS else None))
    return found


def programs(document: Path) -> list[Block]:
    """Every ```sh and ```python block, in order."""
    return [block for block in blocks(document) if block.language in PROGRAMS]


def is_shown(shown: Block, output: str) -> bool:
    """Whether the document shows this output; `...` in it stands for anything, and so does `created`, a time."""
    if shown.language == "text":
        return _fits(_joined(shown.text), _joined(output))
    return _fits(json.loads(shown.text), json.loads(output))


def _joined(text: str) -> str:
    """Pieces of a stream as one: how many of them arrive together depends on time alone."""
    return re.sub(r'"}\n\ndata: {"path":"[^"]*","delta":"', "", text.strip())


def _fits(shown: Any, value: Any) -> bool:
    match shown:
        case str():
            pattern = ".*?".join(re.escape(part) for part in shown.split("..."))
            return isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None
        case dict():
            return (
                isinstance(value, dict)
                and shown.keys() == value.keys()
                and all(key == "created" or _fits(item, value[key]) for key, item in shown.items())
            )
        case list():
            return isinstance(value, list) and len(shown) == len(value) and all(map(_fits, shown, value))
    return bool(shown == value)


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

    def run(self, block: Block) -> str:
        """The block's standard output; raises AssertionError with everything it printed when a command fails."""
        if block.text.rstrip().endswith("model-compose up"):
            self.start(block.text)
            return ""
        done = subprocess.run(
            [*PROGRAMS[block.language], block.text],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, block: str) -> None:
        self.close()
        with self.log.open("wb") as log:
            self.running = subprocess.Popen(
                [*PROGRAMS["sh"], re.sub(r"model-compose up\s*$", "exec model-compose up", block)],
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
