"""The router's page about its API, in a real browser: it shows every address, runs a workflow, and asks nobody else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Page, expect

from tests.services.router.rig import Stack, chat, stack, text, workflow
from tests.ui.browser import Visitor

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)> a workflow"


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    workflows = [
        workflow("chat", default=True, title="Generate Chat Messages", output={"generated": "${output}"}),
        workflow("text", title=HOSTILE, description=HOSTILE),
    ]
    with TemporaryDirectory(prefix="mc-") as path, stack(Path(path), [chat(), text()], workflows) as started:
        yield started


@pytest.fixture
def docs(running: Stack, visit: Callable[[], Visitor]) -> Page:
    page = visit().open(f"{running.router.address}/docs")
    expect(page.locator("details.operation")).to_have_count(18)
    return page


def test_it_shows_every_address_with_the_inputs_of_each_workflow(
    docs: Page, picture: Callable[[Page, str], None]
) -> None:
    expect(docs).to_have_title("model-compose API")
    run = docs.locator("details.operation").first
    expect(run.get_by_role("cell", name="user_prompt")).to_be_visible()
    picture(docs, "api-docs")
    run.get_by_label("Workflow").select_option(label=HOSTILE)
    expect(run.get_by_role("cell", name="prompt *")).to_be_visible()
    expect(docs.locator("img")).to_have_count(0)


def test_a_workflow_can_be_run_from_it(docs: Page, picture: Callable[[Page, str], None]) -> None:
    run = docs.locator("details.operation").first
    run.get_by_label("Request").fill(json.dumps({"input": {"user_prompt": "Hello there"}}))
    run.get_by_role("button", name="Send").click()
    expect(run.get_by_role("status")).to_have_text(re.compile(r"^200 in \d+\.\d\d s, request [0-9a-f]{32}$"))
    expect(run.locator("pre")).to_contain_text('"generated": "Hello there"')
    picture(docs, "api-docs-run")


def test_a_stream_is_shown_as_it_comes_and_can_be_stopped(docs: Page, running: Stack) -> None:
    run = docs.locator("details.operation").first
    knobs = json.dumps({"tokens": 1000, "ms": 50})
    run.get_by_label("Request").fill(json.dumps({"input": {"user_prompt": knobs}}))
    run.get_by_label("as a stream of events").check()
    run.get_by_role("button", name="Send").click()
    expect(run.locator("pre")).to_contain_text('data: {"path":"generated","delta":" w3"}')
    run.get_by_role("button", name="Stop").click()
    expect(run.get_by_role("status")).to_have_text("Stopped.")
    expect(run.get_by_role("button", name="Send")).to_be_enabled()


def test_an_address_with_parameters_can_be_asked(docs: Page) -> None:
    shown = docs.locator("details.operation").filter(has=docs.get_by_text("/api/workflows/{workflow_id}/schema"))
    shown.locator("summary").first.click()
    shown.get_by_label("workflow_id *").fill("text")
    shown.get_by_role("button", name="Send").click()
    expect(shown.locator("pre")).to_contain_text('"workflow_id": "text"')
