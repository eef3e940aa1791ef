"""A user's project folder: a file, a command line, services that are stopped again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COMMAND = Path(sys.executable).with_name("model-compose")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, whatever its status."""

    status: int
    body: Any


@dataclass(frozen=True)
class Project:
    """Runs the command in `folder`; `port` and `page_port` are free ports for its files."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    page_port: int

    def write(self, text: str) -> None:
        (self.folder / "model-compose.yml").write_text(text, encoding="utf-8")

    def with_controller(self, text: str, *, page: bool = False) -> str:
        """The file with a controller on this project's ports in front."""
        webui = f"  webui: {{driver: gradio, port: {self.page_port}}}\n" if page else ""
        return f"controller:\n  adapter: {{type: http-server, port: {self.port}}}\n{webui}{text}"

    def command(self, *arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """`up --detach` around the block."""
        started = self.command("up", "--detach")
        try:
            assert started.returncode == 0, started.stdout + started.stderr
            yield
        finally:
            stopped = self.command("down")
        assert stopped.returncode == 0, stopped.stderr

    def start(self) -> subprocess.Popen[bytes]:
        """`up` in the foreground of a terminal of its own; what it prints goes to `terminal_log`."""
        with self.terminal_log.open("wb") as log:
            return subprocess.Popen(
                [COMMAND, "up"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def terminal_log(self) -> Path:
        return self.folder.with_name("terminal.log")

    def get(self, path: str) -> Answer:
        return ask(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def run(self, values: Mapping[str, Any], **more: Any) -> Answer:
        """POST one run with this input."""
        body = json.dumps({"input": values, **more}).encode()
        return ask(
            urllib.request.Request(
                f"http://127.0.0.1:{self.port}/api/workflows/runs",
                data=body,
                headers={"Content-Type": "application/json"},
            )
        )


def ask(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.load(error))


def family(pid: int) -> list[psutil.Process]:
    """The process and everything below it, as of now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def gone(processes: list[psutil.Process], timeout_s: float) -> bool:
    """Whether all of them have ended within the time; a zombie has ended."""
    deadline = time.monotonic() + timeout_s
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in _alive(processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if psutil.pid_exists(process.pid)]


def interrupt(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C; the exit status."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(timeout=60)
