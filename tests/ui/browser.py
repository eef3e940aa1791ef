"""What tests of pages share: a real Chromium whose visitors write down every request they make."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.skipping import skip
from tests.ui import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_PICTURES = Path(__file__).parents[2] / "test-results"
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_PATIENCE_MS = 20_000
"""For a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def _browser() -> "Iterator[Browser]":
    """Not for the whole session: while it is open, its event loop counts as running, and no other may start."""
    from playwright.sync_api import expect, sync_playwright

    if chromium.find_chromium() is None:
        skip("there is no Chromium on this machine")
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.__file__, args=_FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A browser of its own, without any other's cookies or storage. requests: every address its pages asked for."""

    context: "BrowserContext"
    hosts: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def open(self, url: str) -> "Page":
        self.hosts.add(urlsplit(url).netloc)
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(url)
        return page

    def foreign(self) -> list[str]:
        """Requests to anything but the pages themselves."""
        return [url for url in self.requests if urlsplit(url).netloc not in self.hosts | {""}]


@pytest.fixture
def visit(_browser: "Browser") -> Iterator[Callable[[], Visitor]]:
    """Makes visitors; at the end of the test none of them may have asked a foreign host or met a script error."""
    visitors: list[Visitor] = []
    with ExitStack() as stack:

        def make() -> Visitor:
            context = _browser.new_context(viewport={"width": 1280, "height": 860})
            context.set_default_timeout(_PATIENCE_MS)
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
def picture(request: pytest.FixtureRequest) -> "Callable[[Page, str], None]":
    """Keep a screenshot of a page in test-results/, for people to look at."""

    def take(page: "Page", name: str) -> None:
        page.screenshot(path=_PICTURES / "page" / f"{name}.png")

    return take
