"""The page's process: up before its router, back after a restart, closed to strangers."""

import inspect
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.net import free_port
from tests.ui.browser import Visitor
from tests.ui.conftest import page_process
from tests.ui.fake_api import FakeApi, serving, text_input, workflow

pytestmark = pytest.mark.browser


def test_router_and_page_come_and_go_apart(
    tmp_path: Path, visit: Callable[[], Visitor], picture: Callable[[Page, str], None]
) -> None:
    chat = workflow(task="chat-completion", input=[text_input("user_prompt", required=True)])
    router = FakeApi(workflows=[chat], port=free_port())
    with page_process(router.url, tmp_path) as process:
        process.wait_ready()
        page = visit().open(process.url)
        expect(page.get_by_role("status")).to_have_text(
            f"The router at 127.0.0.1:{router.port} cannot be reached. "
            "Is `model-compose up` running? It may still be starting."
        )
        picture(page, "waiting")

        with serving(router.app(), port=router.port):
            page.get_by_role("tab", name="Chat", exact=True).click()
            page.get_by_label("Message", exact=True).fill("Hello there")
            page.keyboard.press("Enter")
            expect(page.get_by_text("Hello there")).to_have_count(2)
            expect(page.get_by_role("button", name="Retry")).to_be_enabled()

        expect(page.get_by_text("This page reconnects by itself.")).to_be_visible()
        picture(page, "router-down")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator(".status.error p:visible")).to_contain_text("cannot be reached")
        expect(page.get_by_text("Hello there")).to_have_count(2)

        with serving(router.app(), port=router.port):
            process.stop()
            process.start()
            expect(page.get_by_text("This page reconnects by itself.")).to_have_count(0)
            page.get_by_role("tab", name="Chat", exact=True).click()
            expect(page.get_by_text("Hello there").first).to_be_visible()
            page.get_by_role("button", name="Retry").click()
            expect(page.get_by_text("Hello there")).to_have_count(2)


def test_a_token_closes_the_page_to_strangers(
    tmp_path: Path, visit: Callable[[], Visitor], picture: Callable[[Page, str], None]
) -> None:
    router = FakeApi()
    with serving(router.app()) as router.port, page_process(router.url, tmp_path, auth_token="secret") as process:
        process.wait_ready()
        page = visit().open(process.url)
        page.get_by_label("username").fill("anyone")
        page.get_by_label("password").fill("wrong")
        page.get_by_role("button", name="Login").click()
        expect(page.get_by_text("Incorrect Credentials")).to_be_visible()
        picture(page, "login")
        page.get_by_label("username").fill("anyone")
        page.get_by_label("password").fill("secret")
        page.get_by_role("button", name="Login").click()
        expect(page.get_by_role("button", name="Run Workflow")).to_be_visible()
        assert set(router.tokens) == {"Bearer secret"}

        body = {"data": ["x"], "fn_index": 1, "session_hash": "stranger"}
        with httpx.Client(base_url=process.url) as stranger:
            assert stranger.post("gradio_api/queue/join", json=body).status_code == 401
            assert stranger.get("config").status_code == 401
            assert "Continues what you begin." not in stranger.get("").text
    assert router.bodies == []


def test_a_head_without_end_is_refused(page_url: str) -> None:
    address = urlsplit(page_url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_answers_carry_the_headers_that_keep_a_browser_in(page_url: str) -> None:
    with httpx.Client(base_url=page_url) as client:
        whole = client.get("")
        asset = client.get(re.findall(r'src="\./(assets/[^"]+)"', whole.text)[0])
        hidden = ["gradio_api/info", "gradio_api/file=/etc/passwd", "gradio_api/proxy=http://127.0.0.1/", "docs"]
        assert {client.get(path).status_code for path in [*hidden, "monitoring", "gradio_api/openapi.json"]} == {404}
    policy = dict(part.split(" ", 1) for part in whole.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert re.fullmatch(r"'self'( 'sha256-[A-Za-z0-9+/]{43}=')+", policy["script-src"])
    assert asset.headers["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self';")
    assert asset.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.unit
def test_gradio_still_pauses_as_long_as_we_say() -> None:
    from gradio.queueing import Queue

    assert "sleep(self.sleep_when_free)" in inspect.getsource(Queue.start_processing)
