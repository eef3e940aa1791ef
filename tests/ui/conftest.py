"""The page's own process in front of a fake router."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.ui.fake_api import FakeApi, echo, serving, workflow


@dataclass
class PageProcess:
    """`python -m ui.app` on a port of loopback that stays the same over restarts."""

    api_url: str
    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        file = self.folder / "page.json"
        file.write_text(json.dumps({"title": "Test page", "api_url": self.api_url, **self.settings}))
        number = self.listening.fileno()
        command = [sys.executable, "-m", "ui.app", str(file), "--fd", str(number), "--parent", str(os.getpid())]
        self.process = subprocess.Popen(command, pass_fds=[number])

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while httpx.get(f"{self.url}readyz", timeout=60).status_code != 200:
            assert time.monotonic() < deadline, "the page is not ready"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


@contextmanager
def page_process(api_url: str, folder: Path, **settings: object) -> Iterator[PageProcess]:
    process = PageProcess(api_url, folder, settings)
    process.start()
    try:
        yield process
    finally:
        process.stop()
        process.listening.close()


@pytest.fixture(scope="session")
def _router() -> Iterator[FakeApi]:
    fake = FakeApi()
    with serving(fake.app()) as port:
        fake.port = port
        yield fake


@pytest.fixture
def router(_router: FakeApi) -> FakeApi:
    """The router behind `page_url`, as new."""
    _router.workflows = [workflow()]
    _router.script = echo
    _router.bodies.clear()
    return _router


@pytest.fixture(scope="session")
def page_url(_router: FakeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page in front of `router`, one for all tests, because it takes seconds to start."""
    with page_process(_router.url, tmp_path_factory.mktemp("page")) as process:
        process.wait_ready()
        yield process.url
