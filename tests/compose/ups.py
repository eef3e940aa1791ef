"""`up` over fake services, and the other commands beside it, as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.infra.rig import CHECKOUT

ROUTER = {"name": "router", "kind": "router", "base_path": "/api"}
PAGE = {"name": "page", "kind": "page"}
GOOD = {"name": "chat"}
TOO_BIG = {"name": "big", "exit": 78, "print": ["loading", "The model needs 9 GB, and there are 2 GB."]}

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


class Up:
    """`up` with fake services, in the background of a test."""

    def __init__(
        self, folder: Path, units: list[dict[str, Any]], options: tuple[str, ...], environment: dict[str, str]
    ):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.compose.run_up", json.dumps(units), "up", *options],
            cwd=folder,
            env={**ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            close_fds=False,
        )

    def wait_for_table(self) -> None:
        """Until the start is over; the run line, or the last row, is the last that is printed."""
        state = self.folder / ".model-compose/state.json"
        wait_until(lambda: state.exists() and settled(json.loads(state.read_text())))

    def interrupt(self, times: int = 1) -> None:
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, masked(out), masked(err)


def settled(state: dict[str, Any]) -> bool:
    return bool(state["services"]) and all(each["state"] in ("ready", "failed") for each in state["services"])


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def masked(text: str) -> str:
    """Without what differs from run to run: folders of sockets, ports, sizes and column widths."""
    text = re.sub(r"unix:\S+/(\w+)\.sock", r"unix:\1", text)
    text = re.sub(r"127\.0\.0\.1:(?!8080/|8081)\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d+ MB", "N MB", text)
    return re.sub(r"(?<=\S) {2,}(?=\S)", "  ", text)


Start = Callable[..., Up]


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "compose", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, masked(ended.stdout), masked(ended.stderr)
