"""What each kind of task takes and gives, in a real browser: lists, choices, labels, vectors, rankings."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import Visitor
from tests.ui.fake_api import FakeApi, Json, text_input, workflow
from ui.client import Finished, StreamEvent

pytestmark = pytest.mark.browser

Visit = Callable[[], Visitor]
Picture = Callable[[Page, str], None]


def answers(value: Any) -> Callable[[Json], AsyncIterator[StreamEvent]]:
    async def script(_: Json) -> AsyncIterator[StreamEvent]:
        yield Finished(value)

    return script


def made_for(task: str, type: str, *inputs: Json) -> Json:  # noqa: A002 - the schema's own word
    return workflow(task=task, streaming=False, input=list(inputs), output=[{"name": None, "type": type}])


def run(page: Page) -> None:
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.get_by_text("Done in")).to_be_visible()


def test_documents_are_written_one_a_line_and_ranked_in_a_table(
    router: FakeApi, page_url: str, visit: Visit, picture: Picture
) -> None:
    inputs = [
        text_input("query", required=True),
        text_input("documents", type="list", required=True, description="A list of texts"),
        text_input("top_k", type="integer", default=3),
    ]
    router.workflows = [made_for("text-reranking", "list", *inputs)]
    documents = ["The sun is a star.", "<b>The moon</b> | goes around\nthe earth.", {"title": "Tides"}]
    scores = [0.98765, 3e-05, -2.5]
    ranking = [
        {"index": index, "score": score, "document": documents[index]}
        for index, score in zip((1, 0, 2), scores, strict=True)
    ]
    router.script = answers(ranking)
    page = visit().open(page_url)
    page.get_by_label("Query *").fill("What goes around the earth?")
    page.get_by_label("Documents *").fill("The sun is a star.\n\n  The moon goes around the earth. \nTides")
    run(page)
    cells = page.get_by_role("gridcell")
    expect(cells.filter(has_text="<b>The moon</b> | goes around")).to_be_visible()
    expect(cells.filter(has_text="0.9877")).to_be_visible()
    expect(cells.filter(has_text="3e-05")).to_be_visible()
    expect(cells.filter(has_text='"title": "Tides"')).to_be_visible()
    picture(page, "task-reranking")
    router.script = answers([{"index": 1, "score": 0.75}])
    run(page)
    expect(cells.filter(has_text="0.75")).to_be_visible()
    expect(page.get_by_role("columnheader")).to_contain_text(["#", "Score"])
    expect(page.get_by_role("columnheader")).to_have_count(2)
    assert router.bodies[0]["input"] == {
        "query": "What goes around the earth?",
        "documents": ["The sun is a star.", "The moon goes around the earth.", "Tides"],
        "top_k": 3,
    }


def test_a_label_shows_how_sure_it_is(router: FakeApi, page_url: str, visit: Visit, picture: Picture) -> None:
    router.workflows = [made_for("text-classification", "json", text_input("text", required=True))]
    chosen = {"label": "<i>positive</i>", "label_id": 1, "score": 0.75}
    router.script = answers({**chosen, "probabilities": [0.2, 0.75, 0.05]})
    page = visit().open(page_url)
    page.get_by_label("Text *").fill("A fine day")
    run(page)
    output = page.locator(".output")
    expect(output.get_by_role("heading", name="<i>positive</i>")).to_be_visible()
    expect(output.get_by_text("75%")).to_be_visible()
    expect(output.get_by_text("label_id 0")).to_be_visible()
    picture(page, "task-classification")
    router.script = answers([chosen, chosen])
    run(page)
    expect(output.get_by_text('"label_id": 1').first).to_be_visible()


def test_a_vector_is_one_line_of_json_under_its_choices(
    router: FakeApi, page_url: str, visit: Visit, picture: Picture
) -> None:
    pooling = text_input("pooling", type="select", options=["mean", "cls", "max"])
    router.workflows = [made_for("text-embedding", "list", text_input("text", required=True), pooling)]
    vector = [round(number / 384 - 0.5, 6) for number in range(384)]
    router.script = answers(vector)
    page = visit().open(page_url)
    page.get_by_label("Text *").fill("A fine day")
    page.get_by_label("Pooling").click()
    page.get_by_role("option", name="cls").click()
    run(page)
    expect(page.locator(".output textarea")).to_have_value(str(vector))
    picture(page, "task-embedding")
    assert router.bodies[0]["input"] == {"text": "A fine day", "pooling": "cls"}
