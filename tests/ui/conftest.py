"""The page's own process in front of a fake router, and a Chromium that writes down every request it makes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.ui.fake_api import PATIENCE_S, FakeApi, echo, serving, workflow

PICTURES = Path(__file__).parents[2] / "test-results"
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = PATIENCE_S * 1000


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


def _chromium() -> str:
    """Debian's, or another one on the path; where there is none only CI insists."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    reason = "there is no Chromium on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    """Not for the whole session: while it is open, its event loop counts as running, and no other may start."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A browser of its own, without any other's cookies or storage. requests: every address its pages asked for."""

    context: BrowserContext
    hosts: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        self.hosts.add(urlsplit(url).netloc)
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(url)
        return page

    def foreign(self) -> list[str]:
        """Requests to anything but the pages themselves."""
        return [url for url in self.requests if urlsplit(url).netloc not in self.hosts | {""}]


@pytest.fixture
def visit(_browser: Browser) -> Iterator[Callable[[], Visitor]]:
    """Makes visitors; at the end of the test none of them may have asked a foreign host or met a script error."""
    visitors: list[Visitor] = []
    with ExitStack() as stack:

        def make() -> Visitor:
            context = _browser.new_context(viewport={"width": 1280, "height": 860})
            context.set_default_timeout(PATIENCE_MS)
            stack.callback(context.close)
            visitor = Visitor(context)

            context.on("request", lambda request: visitor.requests.append(request.url))
            visitors.append(visitor)
            return visitor

        yield make
        for visitor in visitors:
            assert visitor.foreign() == []
            assert visitor.troubles == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a screenshot of a page in test-results/, for people to look at."""

    def take(page: Page, name: str) -> None:
        page.screenshot(path=PICTURES / "page" / f"{name}.png")

    return take
