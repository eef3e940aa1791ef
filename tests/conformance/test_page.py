"""A visitor of the page meets the same behaviour wherever the services run."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.conformance.folder import wait_until
from tests.conformance.served import ANSWER, QUESTION, TOKEN, Served
from tests.ui.browser import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Visit = Callable[[], Visitor]


def enter(page: Page, password: str) -> None:
    page.get_by_label("username").fill("anyone")
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()


def opened(served: Served, visit: Visit, tab: str) -> Page:
    """The page of whoever has the token, at this tab."""
    page = visit().open(str(served.page.base_url))
    enter(page, TOKEN)
    page.get_by_role("tab", name=tab, exact=True).click()
    return page


def test_a_visitor_without_the_token_sees_nothing(served: Served, visit: Visit) -> None:
    page = visit().open(str(served.page.base_url))
    enter(page, "wrong")
    expect(page.get_by_text("Incorrect Credentials")).to_be_visible()
    assert "Ask the toy" not in served.page.get("/").text
    assert served.page.get("/config").status_code == 401


def test_a_visitor_fills_the_form_and_reads_the_answer(served: Served, visit: Visit) -> None:
    page = opened(served, visit, "Ask the toy")
    expect(page.get_by_role("heading", name="Ask the toy")).to_be_visible()
    page.get_by_role("textbox", name="User prompt *").fill(QUESTION)
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.locator(".output textarea").first).to_have_value(ANSWER)
    expect(page.get_by_text(re.compile(r"^Done in .* tokens"))).to_be_visible()


def test_a_chat_shows_what_the_model_writes_and_ends_it_when_told(served: Served, visit: Visit) -> None:
    page = opened(served, visit, "Talk without end: chat")
    page.get_by_placeholder("Your message").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".conversation .message .md").nth(1)).to_contain_text("The moon is a ball of rock")
    run = served.newest()
    assert served.status(run) == "streaming"
    page.get_by_role("button", name="Stop").click()
    assert served.ended(run) == "cancelled"
    wait_until(lambda: served.calls(run) == ["talk cancelled"])


def test_a_visitor_who_leaves_ends_the_run(served: Served, visit: Visit) -> None:
    page = opened(served, visit, "Talk without end")
    page.get_by_role("textbox", name="User prompt *").fill(QUESTION)
    page.get_by_role("button", name="Run Workflow").click()
    served.until_at_work()
    run = served.newest()
    page.close()
    assert served.ended(run) == "cancelled"


def test_a_visitor_is_told_when_the_router_is_stopped_and_goes_on_after_it(served: Served, visit: Visit) -> None:
    page = opened(served, visit, "Ask the toy")
    page.get_by_role("textbox", name="User prompt *").fill(QUESTION)
    assert served.project.command("stop", "router").returncode == 0
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.get_by_text(re.compile(r"^The router at \S+ cannot be reached\.")).first).to_be_visible()
    assert served.page.get("/livez").status_code == 200
    assert served.project.command("start", "router").returncode == 0
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.locator(".output textarea").first).to_have_value(ANSWER)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}], ids=["host", "origin"]
)
def test_web_pages_of_others_are_refused(served: Served, headers: dict[str, str]) -> None:
    refused = served.page.get("/", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_a_browser_is_told_to_load_nothing_from_elsewhere(served: Served) -> None:
    answer = served.page.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'self'", "'none'")
    assert served.page.get("/readyz").json() == {"stage": "ready"}
