"""A project over fake services, and the commands that a user gives there."""

import contextlib
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
from tests.net import free_port

FILE = "component: {type: model, task: chat-completion, model: ./model}\n"
CHAT = {"name": "chat"}
ROUTER = {"name": "router", "kind": "router", "base_path": "/api"}
PAGE = {"name": "page", "kind": "page"}
TOO_BIG = {"name": "big", "exit": 78, "print": ["loading", "The model needs 9 GB, and there are 2 GB."]}

Ended = tuple[int, str, str]
"""Exit code, standard output, standard error, without what differs from run to run and from runtime to runtime."""


class Folder:
    """runtime: where `up` runs its services. image: of the fakes, for containers."""

    def __init__(self, path: Path, runtime: str, image: str, stack: contextlib.ExitStack) -> None:
        self.path = path
        self.runtime = runtime
        self._image = image
        self._stack = stack
        self._environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        path.mkdir()
        (path / "model-compose.yml").write_text(FILE)

    def up(self, *units: dict[str, Any], options: tuple[str, ...] = (), **environment: str) -> "Up":
        """In the background of the test."""
        chosen = [unit if unit.get("kind", "task") == "task" else {"port": free_port(), **unit} for unit in units]
        arguments = [self.runtime, self._image, json.dumps(chosen), "up", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.run_up", *arguments],
            cwd=self.path,
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            close_fds=False,
        )
        self._stack.enter_context(process)
        self._stack.callback(self.command, "down")
        return Up(process, self)

    def command(self, *arguments: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "compose", *arguments],
            cwd=self.path,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return ended.returncode, masked(ended.stdout), masked(ended.stderr)

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "compose", "logs", "-f", *arguments],
            cwd=self.path,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def services(self) -> dict[str, dict[str, Any]]:
        """What `ps --json` says of each."""
        _, out, _ = self.command("ps", "--json")
        return {service["name"]: service for service in json.loads(out)["services"]}

    @property
    def state(self) -> Path:
        return self.path / ".model-compose" / "state.json"


class Up:
    """`up`, while it runs."""

    def __init__(self, process: subprocess.Popen[str], folder: Folder) -> None:
        self.process = process
        self._folder = folder

    def settled(self) -> "Up":
        """Until the start is over."""
        wait_until(lambda: self._states() != [] and set(self._states()) <= {"ready", "failed"})
        return self

    def _states(self) -> list[str]:
        assert self.process.poll() is None, self.end()
        try:
            services = json.loads(self._folder.state.read_text())["services"]
        except FileNotFoundError:
            return []
        return [service["state"] for service in services]

    def interrupt(self) -> "Up":
        self.process.send_signal(signal.SIGINT)
        return self

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, masked(out), masked(err)


def wait_until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def masked(text: str) -> str:
    """Without addresses, sizes, times and column widths."""
    text = re.sub(r"unix:\S+/(\w+)\.sock|http://task-(\w+):3000", r"of \1\2", text)
    text = re.sub(r"127\.0\.0\.1:(?!8080/|8081)\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"; its runs stay in the volume \S+", "", text)
    text = re.sub(r"\d+ MB", "N MB", text)
    text = re.sub(r"\b\d+\.\d s", "N s", text)
    return re.sub(r"(?<=\S) {2,}(?=\S)", "  ", text)
