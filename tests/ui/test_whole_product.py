"""The page in front of the real router and the bundled model: typed, run, streamed, read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.project import Project, free_port
from tests.ui.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


def test_a_visitor_runs_the_workflow_and_talks_to_the_model(
    tmp_path: Path, visit: Callable[[], Visitor], picture: Callable[[Page, str], None]
) -> None:
    project = Project(tmp_path, os.environ, free_port(), free_port())
    file = (QUICKSTART / "model-compose.yml").read_text(encoding="utf-8")
    project.write(
        file.replace("./model", str(QUICKSTART / "model"))
        .replace("| 8080", f"| {project.port}")
        .replace("| 8081", f"| {project.page_port}")
    )
    with project.running():
        page = visit().open(f"http://127.0.0.1:{project.page_port}/")
        expect(page.get_by_role("heading", name="Talk to the Toy Model")).to_be_visible()
        expect(page.get_by_label("System prompt")).to_have_value("You are a helpful assistant.")
        page.get_by_label("User prompt *").fill("Tell me about the moon.")
        page.get_by_role("button", name="Run Workflow").click()
        expect(page.locator(".output textarea").first).to_have_value(re.compile("the light of the sun"))
        picture(page, "whole-product-run")

        page.get_by_role("tab", name=re.compile("chat", re.IGNORECASE)).click()
        box = page.get_by_placeholder(re.compile("message", re.IGNORECASE))
        box.fill("Hello!")
        box.press("Enter")
        expect(page.get_by_text(re.compile("How can I help|like to talk about"))).to_be_visible()
        picture(page, "whole-product-chat")
