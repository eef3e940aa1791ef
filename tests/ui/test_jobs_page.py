"""Workflows of several jobs on the page, before the real router and tasks that echo."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Locator, Page, expect

from compose.loader import load_spec
from compose.routing import router_settings
from tests.services.router.rig import Service, echo_task, eventually, router
from tests.ui.browser import Visitor
from tests.ui.conftest import page_process

pytestmark = pytest.mark.browser

Visit = Callable[[], Visitor]
Picture = Callable[[Page, str], None]

FILE = """
components:
  - {id: echo, type: model, task: chat-completion, model: ./none}
  - {id: inner, type: workflow, action: {workflow: again, input: {text: "${input.text}"}}}
workflows:
  - title: Together
    id: together
    jobs:
      - {id: one, component: echo, input: {user_prompt: "${input.first}"}}
      - {id: two, component: echo, input: {user_prompt: "${input.second}"}}
      - {id: both, component: echo, input: {user_prompt: "${jobs.one.output} ${jobs.two.output}"}}
    output:
      one: ${jobs.one.output}
      two: ${jobs.two.output as markdown}
      the.last: ${jobs.both.output}
      nested: {texts: ["${jobs.one.output}", "${jobs.two.output}"], none: "${input.absent}"}
  - title: Each
    id: each
    jobs:
      - id: each
        type: for-each
        input: ${input.items}
        batch_size: 2
        do: {component: echo, input: {user_prompt: "${item}"}}
  - title: Again
    id: again
    jobs:
      - {id: again, component: echo, repeat_count: 3, input: {user_prompt: "${input.text}"}}
  - title: Until
    id: until
    jobs:
      - id: until
        type: loop
        input: ${input.text}
        until: {value: x}
        do: {component: echo, input: {user_prompt: "${input}"}}
  - title: Within
    id: within
    component: inner
    input: {text: "${input.text}"}
  - title: Either
    id: either
    jobs:
      - {id: choose, type: if, input: "${input.short as boolean}", value: true, if_true: short, if_false: long}
      - {id: short, component: echo, input: {user_prompt: "short ${input.text}"}}
      - {id: long, component: echo, input: {user_prompt: "long ${input.text}"}}
    output: {short: "${jobs.short.output}", long: "${jobs.long.output}"}
  - title: Pause
    id: pause
    jobs: [{id: pause, type: delay, duration: 1h, output: "${input}"}]
  - title: Late
    id: late
    jobs: [{id: late, component: echo, timeout: 100ms, input: {user_prompt: '{"hang": true}'}}]
  - title: In Circles
    id: circles
    jobs:
      - {id: begin, type: delay, duration: 0s}
      - {id: lead, type: if, depends_on: [begin], input: 1, value: 1, if_true: come}
      - {id: come, type: delay, duration: 0s, depends_on: [begin], max_run_count: 3}
      - {id: back, type: if, depends_on: [come], input: 1, value: 1, if_true: come}
  - {title: Plain, id: plain, component: echo, input: {user_prompt: Hello.}}
  - {title: Hidden, id: hidden, private: true, component: echo}
"""
"""Ten workflows for everybody, and one that is private."""

SLOW = '{"tokens": 100000, "ms": 20}'
"""An echo task takes half an hour for this."""


@dataclass
class Site:
    """A page before a router, and the one task behind both."""

    url: str
    task: Service

    def is_idle(self) -> bool:
        return self.task.counters()["computing"] == 0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with TemporaryDirectory(prefix="mc-") as path, ExitStack() as opened:
        folder = Path(path)
        (folder / "model-compose.yml").write_text(FILE)
        task = opened.enter_context(echo_task(folder, "echo"))
        endpoints = {"echo": task.address, "inner": ""}
        settings = router_settings(load_spec([folder / "model-compose.yml"]), endpoints, folder / "runs.db")
        service = opened.enter_context(router(folder, settings))
        page = opened.enter_context(page_process(service.address + settings.base_path, folder))
        page.wait_ready()
        yield Site(page.url, task)


def open_tab(page: Page, title: str) -> Locator:
    """What the workflow's tab shows. Tabs for which there is no room stand in a menu."""
    expect(page.get_by_role("button", name="Run Workflow").locator("visible=true")).to_be_visible()
    tab = page.get_by_role("tab", name=title, exact=True)
    if tab.is_visible():
        tab.click()
    else:
        page.get_by_label("More tabs").click()
        page.locator(".overflow-dropdown").get_by_text(title, exact=True).click()
    panel = page.locator("[role=tabpanel]:visible")
    expect(panel.get_by_role("heading", name=title, exact=True)).to_be_visible()
    return panel


def run(panel: Locator, **filled: str) -> None:
    for label, text in filled.items():
        panel.get_by_label(f"{label} *", exact=True).fill(text)
    panel.get_by_role("button", name="Run Workflow").click()


def output(panel: Locator, number: int = 0) -> Locator:
    return panel.locator(".output textarea").nth(number)


def data(panel: Locator) -> object:
    """What the first JSON output shows."""
    return json.loads(panel.locator(".output .json-holder").first.inner_text())


def test_ten_workflows_have_a_tab_each_and_the_private_one_has_none(site: Site, visit: Visit, picture: Picture) -> None:
    page = visit().open(site.url)
    titles = ["Together", "Each", "Again", "Until", "Within", "Either", "Pause", "Late", "In Circles", "Plain"]
    expect(page.get_by_role("tab")).to_have_text([*titles[:3], "Again: chat", *titles[3:]])
    picture(page, "ten-workflows")
    page.set_viewport_size({"width": 600, "height": 800})
    expect(page.get_by_label("More tabs")).to_be_visible()
    for title in titles:
        open_tab(page, title)
    picture(page, "ten-workflows-narrow")


def test_several_outputs_grow_together(site: Site, visit: Visit, picture: Picture) -> None:
    panel = open_tab(visit().open(site.url), "Together")
    run(panel, First='{"tokens": 30, "ms": 30}', Second='{"tokens": 30, "ms": 30}')
    expect(output(panel)).to_have_value(re.compile("w5"))
    expect(panel.locator(".prose.output")).to_contain_text("w5")
    assert output(panel, 1).input_value() == ""
    picture(panel.page, "several-outputs")
    words = " ".join(f"w{number}" for number in range(30))
    expect(output(panel, 1)).to_have_value(f"{words} {words}")
    expect(output(panel)).to_have_value(words)
    expect(panel.get_by_text("Done in")).to_be_visible()


def test_a_job_that_was_skipped_leaves_its_output_empty(site: Site, visit: Visit) -> None:
    panel = open_tab(visit().open(site.url), "Either")
    run(panel, Text="way")
    expect(output(panel, 1)).to_have_value("long way")
    assert output(panel, 0).input_value() == ""
    panel.get_by_label("Short").check()
    run(panel)
    expect(output(panel, 0)).to_have_value("short way")
    assert output(panel, 1).input_value() == ""


def test_a_workflow_without_inputs_runs(site: Site, visit: Visit) -> None:
    panel = open_tab(visit().open(site.url), "Plain")
    run(panel)
    expect(output(panel)).to_have_value("Hello.")


def test_failures_of_jobs_are_sentences_with_their_remedy(site: Site, visit: Visit) -> None:
    page = visit().open(site.url)
    sentences = {
        "Late": "The job did not end within 0.1 s. Ask for less, or raise its `timeout` in the file.",
        "In Circles": 'The job "come" was routed to again and again and has run 3 times. '
        "Check the condition that leads back to it, or raise its `max_run_count`.",
    }
    for title, sentence in sentences.items():
        panel = open_tab(page, title)
        run(panel)
        expect(panel.get_by_text(sentence)).to_be_visible()


CANCELLED = {
    "Together": {"First": SLOW, "Second": "short"},
    "Each": {"Items": json.dumps([SLOW, "short", SLOW])},
    "Again": {"Text": SLOW},
    "Until": {"Text": SLOW},
    "Within": {"Text": SLOW},
    "Pause": {},
}


def test_cancel_ends_the_work_of_every_kind_of_job(site: Site, visit: Visit) -> None:
    page = visit().open(site.url)
    for title, filled in CANCELLED.items():
        panel = open_tab(page, title)
        run(panel, **filled)
        if title == "Pause":
            expect(panel.get_by_text(re.compile("^Running … 1 s"))).to_be_visible()
        else:
            expect(panel.get_by_text(re.compile("^Running …"))).to_be_visible()
            eventually(lambda: not site.is_idle())
        panel.get_by_role("button", name="Cancel").click()
        expect(panel.get_by_text("Cancelled.")).to_be_visible()
        expect(panel.get_by_role("button", name="Run Workflow")).to_be_enabled()
        eventually(site.is_idle)


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_two_visitors_in_turn_see_only_their_own_words(count: int, site: Site, visit: Visit) -> None:
    panels = {name: open_tab(visit().open(site.url), "Together") for name in ("anna", "berta")}
    for number in range(count):
        for name, panel in panels.items():
            run(panel, First=f'{{"text": "{name} {number} a", "ms": 20}}', Second=f'{{"text": "{name} {number} b"}}')
        for name, panel in panels.items():
            words = f"{name} {number} a {name} {number} b"
            expect(output(panel, 1)).to_have_value(words)
            expect(panel.get_by_role("button", name="Run Workflow")).to_be_enabled()
            other = "berta" if name == "anna" else "anna"
            shown = [box.input_value() for box in panel.locator(".output textarea").all()]
            shown += [panel.locator(".prose.output").inner_text(), json.dumps(data(panel))]
            assert [other in text for text in shown] == [False] * 4
