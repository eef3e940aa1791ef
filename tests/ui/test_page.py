"""A workflow's tab in a real browser: what is filled in is what runs, and what comes back is what is shown."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.ui.browser import Visitor
from tests.ui.fake_api import PATIENCE_S, Broken, FakeApi, Json, Refused, text_input, workflow
from ui.client import Chunk, Finished, StreamEvent

pytestmark = pytest.mark.browser

Visit = Callable[[], Visitor]
Picture = Callable[[Page, str], None]


def run(page: Page, prompt: str = "Once upon a time") -> None:
    page.get_by_label("Prompt *").fill(prompt)
    page.get_by_role("button", name="Run Workflow").click()


def output(place: Page | Locator, number: int = 0) -> Locator:
    """The text box of an output; its label is not tied to it."""
    return place.locator(".output textarea").nth(number)


async def endless(body: Json) -> AsyncIterator[StreamEvent]:
    while True:
        yield Chunk("on and ", "generated")
        await asyncio.sleep(0.01)


def test_shows_a_field_for_each_input(router: FakeApi, page_url: str, visit: Visit, picture: Picture) -> None:
    router.workflows = [
        workflow(
            title="Generate *Chat* Messages",
            description="Answers a **message**.",
            input=[
                text_input("system-prompt", default="You are helpful.", description="How to <behave>"),
                text_input("user_prompt", required=True),
                text_input("temperature", type="number", default=0.7),
                text_input("count", type="integer"),
                text_input("do_sample", type="boolean", default=True),
                text_input("style", type="select", options=["short", "long"], default="long"),
                text_input("topics", type="list"),
                text_input("extra", type="json", default={"a": 1}),
            ],
        )
    ]
    page = visit().open(page_url)
    expect(page.get_by_role("heading", name="Generate *Chat* Messages")).to_be_visible()
    expect(page.get_by_text("Answers a message.")).to_be_visible()
    expect(page.get_by_text("How to <behave>")).to_be_visible()
    expect(page.get_by_label("System prompt")).to_have_value("You are helpful.")
    expect(page.get_by_label("Do sample")).to_be_checked()
    picture(page, "form")

    page.get_by_label("User prompt *").fill("Hi")
    page.get_by_label("Topics").fill('["sea", "sun"]')
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.get_by_text("Done in")).to_be_visible()
    assert [body["input"] for body in router.bodies] == [
        {
            "system-prompt": "You are helpful.",
            "user_prompt": "Hi",
            "temperature": 0.7,
            "do_sample": True,
            "style": "long",
            "topics": ["sea", "sun"],
            "extra": {"a": 1},
        }
    ]


def test_the_answer_grows_while_it_is_made(router: FakeApi, page_url: str, visit: Visit, picture: Picture) -> None:
    seen = threading.Event()

    async def script(body: Json) -> AsyncIterator[StreamEvent]:
        yield Chunk(f"{body['input']['prompt']}, there", "generated")
        await asyncio.to_thread(seen.wait, PATIENCE_S)
        yield Chunk(" was a sea.", "generated")
        warning = {"code": "output_capped", "message": "The output was capped at 7 tokens."}
        yield Finished({"generated": "Once upon a time, there was a sea."}, {"completion_tokens": 7}, [warning])

    router.script = script
    page = visit().open(page_url)
    run(page)
    expect(output(page)).to_have_value("Once upon a time, there")
    expect(page.get_by_text("Running …")).to_be_visible()
    expect(page.get_by_role("button", name="Run Workflow")).to_be_disabled()
    picture(page, "running")
    seen.set()
    expect(output(page)).to_have_value("Once upon a time, there was a sea.")
    expect(page.get_by_text("s, 7 tokens.")).to_be_visible()
    expect(page.get_by_text("The output was capped at 7 tokens.")).to_be_visible()
    expect(page.get_by_role("button", name="Run Workflow")).to_be_enabled()
    picture(page, "done")


def test_cancel_ends_the_run_and_keeps_what_came(router: FakeApi, page_url: str, visit: Visit) -> None:
    router.script = endless
    page = visit().open(page_url)
    run(page)
    expect(output(page)).not_to_have_value("")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    assert router.left.get(timeout=PATIENCE_S)["workflow_id"] == "story"
    expect(output(page)).not_to_have_value("")
    expect(page.get_by_role("button", name="Run Workflow")).to_be_enabled()
    expect(page.get_by_role("button", name="Cancel")).to_be_disabled()


@pytest.mark.parametrize("way", ["tab", "browser"])
def test_closing_the_page_ends_its_run(way: str, router: FakeApi, page_url: str, visit: Visit) -> None:
    router.script = endless
    visitor = visit()
    page = visitor.open(page_url)
    run(page)
    expect(output(page)).not_to_have_value("")
    page.close() if way == "tab" else visitor.context.close()
    assert router.left.get(timeout=PATIENCE_S)["workflow_id"] == "story"


def test_a_run_that_begins_after_its_page_was_closed_ends(router: FakeApi, page_url: str, visit: Visit) -> None:
    router.script = endless
    page = visit().open(page_url)
    page.route("**/queue/join?*", lambda route: None)
    with page.expect_request(lambda request: "Once upon" in (request.post_data or "")) as sent:
        run(page)
    httpx.post(sent.value.url, json={**(sent.value.post_data_json or {}), "session_hash": "gone"}).raise_for_status()
    assert router.left.get(timeout=PATIENCE_S)["session_id"] == "gone"


def test_what_cannot_be_sent_is_a_sentence(router: FakeApi, page_url: str, visit: Visit, picture: Picture) -> None:
    router.workflows = [workflow(input=[text_input("prompt", required=True), text_input("extra", type="json")])]
    page = visit().open(page_url)
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.get_by_text("Fill in “Prompt”; it is required.")).to_be_visible()
    picture(page, "missing")
    page.get_by_label("Extra").fill('{"a": }')
    run(page)
    expect(page.get_by_text("“Extra” is not valid JSON at line 1, column 7.")).to_be_visible()
    assert router.bodies == []


def test_an_error_of_the_router_is_a_sentence_with_its_remedy(
    router: FakeApi, page_url: str, visit: Visit, picture: Picture
) -> None:
    async def refuse(body: Json) -> AsyncIterator[StreamEvent]:
        raise Refused(422, {"code": "too_long", "message": "The prompt has <9> *tokens*.", "hint": "Use `5` at most."})
        yield

    async def crash(body: Json) -> AsyncIterator[StreamEvent]:
        yield Chunk("Half an", "generated")
        raise Broken({"code": "task_crashed", "message": "The model's process ended."})

    router.script = refuse
    page = visit().open(page_url)
    run(page)
    expect(page.get_by_text("The prompt has <9> *tokens*. Use `5` at most.")).to_be_visible()
    picture(page, "error")
    router.script = crash
    run(page)
    expect(page.get_by_text("The model's process ended.")).to_be_visible()
    expect(output(page)).to_have_value("Half an")


def test_what_cannot_be_shown_is_a_sentence_too(router: FakeApi, page_url: str, visit: Visit) -> None:
    router.workflows = [workflow(output=[{"name": "data", "type": "json"}])]
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]

    async def script(body: Json) -> AsyncIterator[StreamEvent]:
        yield Finished({"data": deep if body["input"]["prompt"] == "deep" else ["shallow"]})

    router.script = script
    page = visit().open(page_url)
    run(page, "deep")
    expect(page.get_by_text("The page could not show this run. `model-compose logs page` says why.")).to_be_visible()
    run(page, "shallow")
    expect(page.locator(".output").get_by_text("shallow")).to_be_visible()
    expect(page.get_by_text("Done in")).to_be_visible()


def test_a_file_without_public_workflows_says_so(router: FakeApi, page_url: str, visit: Visit) -> None:
    router.workflows = []
    page = visit().open(page_url)
    expect(page.get_by_text("There is no workflow to show: those of the file are private.")).to_be_visible()


def test_visitors_see_only_their_own_runs(router: FakeApi, page_url: str, visit: Visit) -> None:
    arrived = threading.Barrier(2)

    async def together(body: Json) -> AsyncIterator[StreamEvent]:
        await asyncio.to_thread(arrived.wait, PATIENCE_S)  # serial runs would never meet here
        for letter in body["input"]["prompt"]:
            yield Chunk(letter, "generated")
        yield Finished({"generated": body["input"]["prompt"]})

    router.script = together
    pages = [visit().open(page_url), visit().open(page_url)]
    texts = ["first" * 20, "second" * 20]
    for page, text in zip(pages, texts, strict=True):
        run(page, text)
    for page, text in zip(pages, texts, strict=True):
        expect(page.get_by_text("Done in")).to_be_visible()
        expect(output(page)).to_have_value(text)
    assert len({body["session_id"] for body in router.bodies}) == 2


def test_outputs_are_shown_by_their_type(router: FakeApi, page_url: str, visit: Visit, picture: Picture) -> None:
    outputs = [("summary", "markdown"), ("scores", "json"), ("count", "number"), ("all", "text")]
    router.workflows = [workflow(output=[{"name": name, "type": kind} for name, kind in outputs])]

    async def script(body: Json) -> AsyncIterator[StreamEvent]:
        yield Chunk("A **bold** ", "summary")
        yield Finished({"summary": "A **bold** word", "scores": {"sea": [0.5, 1]}, "count": 3.5, "all": ["one", "two"]})

    router.script = script
    page = visit().open(page_url)
    run(page)
    expect(page.locator("strong", has_text="bold")).to_be_visible()
    expect(page.get_by_text("sea")).to_be_visible()
    expect(output(page, 0)).to_have_value("3.5")
    expect(output(page, 1)).to_have_value("one\n\ntwo")
    picture(page, "types")


def test_a_page_loaded_anew_shows_the_workflows_of_now(router: FakeApi, page_url: str, visit: Visit) -> None:
    page = visit().open(page_url)
    expect(page.get_by_role("tab", name="Tell a Story")).to_be_visible()
    router.workflows = [workflow(), workflow("poem", title="Write a Poem")]
    visit().open(page_url)
    expect(page.get_by_text("The workflows have changed. Reload this page to see them.")).to_be_visible()
    page.reload()
    page.get_by_role("tab", name="Write a Poem").click()
    page.get_by_role("tabpanel").get_by_label("Prompt *").fill("Roses")
    page.get_by_role("tabpanel").get_by_role("button", name="Run Workflow").click()
    expect(output(page.get_by_role("tabpanel"))).to_have_value("Roses ")
    assert [body["workflow_id"] for body in router.bodies] == ["poem"]
