"""The page in front of the real router and real models: typed, run, streamed, read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.project import Project
from tests.hub import FakeHub
from tests.models import make_model
from tests.net import free_port
from tests.ui.browser import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "HuggingFaceTB/SmolLM3-3B"

Visit = Callable[[], Visitor]
Picture = Callable[[Page, str], None]


def copied(example: str, project: Project) -> None:
    """The example's own file on this project's ports."""
    file = (EXAMPLES / example / "model-compose.yml").read_text(encoding="utf-8")
    file = file.replace("./model", str(EXAMPLES / example / "model"))
    project.write(file.replace("8080", str(project.port)).replace("8081", str(project.page_port)))


def test_a_visitor_runs_the_workflow_and_talks_to_the_model(tmp_path: Path, visit: Visit, picture: Picture) -> None:
    project = Project(tmp_path, os.environ, free_port(), free_port())
    copied("quickstart", project)
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


@pytest.mark.parametrize(
    ("example", "heading", "filled"),
    [
        (
            "model-tasks/chat-completion",
            "Generate Chat Messages",
            {"System prompt": "You are a helpful AI assistant.", "User prompt *": "Explain quantum computing."},
        ),
        (
            "model-tasks/text-generation",
            "Generate Text from Prompt",
            {"Prompt *": "Once upon a time in a distant galaxy"},
        ),
    ],
)
def test_the_documented_examples_have_their_page(
    tmp_path: Path, visit: Visit, picture: Picture, example: str, heading: str, filled: dict[str, str]
) -> None:
    model = make_model("smollm3", tmp_path / "model")
    with FakeHub({MODEL: model}) as hub:
        folder = tmp_path / "project"
        folder.mkdir()
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "huggingface")}
        project = Project(folder, environment, free_port(), free_port())
        copied(example, project)
        with project.running():
            page = visit().open(f"http://127.0.0.1:{project.page_port}/")
            expect(page.get_by_role("heading", name=heading)).to_be_visible()
            for label, text in filled.items():
                page.get_by_label(label).fill(text)
            page.get_by_role("button", name="Run Workflow").click()
            expect(page.get_by_text(re.compile(r"^Done in .* tokens"))).to_be_visible()
            output = page.locator(".output textarea").first
            prompt = filled.get("Prompt *", "")
            expect(output).to_have_value(re.compile(f"^{prompt}.+", re.DOTALL))
            picture(page, f"example-{Path(example).name}")
