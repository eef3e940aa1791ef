"""The chat tab in a real browser: turns with history, stop, retry, and a conversation that survives a reload."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.ui.browser import Visitor
from tests.ui.fake_api import PATIENCE_S, FakeApi, Json, Refused, text_input, workflow
from ui.client import Chunk, Finished, StreamEvent

pytestmark = pytest.mark.browser

Visit = Callable[[], Visitor]
Picture = Callable[[Page, str], None]

CHAT = workflow(
    "talk",
    title="Talk to the Model",
    description="Ask for a greeting.",
    task="chat-completion",
    input=[
        text_input("system_prompt", default="You are helpful.", description="How the model should behave"),
        text_input("user_prompt", required=True, description="What you want to say"),
        text_input("seed", type="integer", default=7),
    ],
)


@pytest.fixture
def chat(router: FakeApi, page_url: str, visit: Visit) -> Page:
    """The open chat tab."""
    router.workflows = [CHAT]
    page = visit().open(page_url)
    page.get_by_role("tab", name="Chat", exact=True).click()
    return page


def say(page: Page, text: str) -> None:
    expect(page.get_by_role("button", name="Retry")).to_be_enabled()
    page.get_by_placeholder("Your message").fill(text)
    page.keyboard.press("Enter")


def messages(page: Page) -> Locator:
    return page.locator(".conversation .message .md")


async def answer(body: Json) -> AsyncIterator[StreamEvent]:
    text = f"You said *{body['input']['user_prompt']}*."
    yield Chunk(text[:5], "generated")
    yield Finished({"generated": text})


def test_each_turn_carries_those_before(router: FakeApi, chat: Page, picture: Picture) -> None:
    router.script = answer
    say(chat, "Hello")
    expect(messages(chat)).to_have_text(["Hello", "You said Hello."])
    say(chat, "1 < 2 & `a<b>`")
    expect(messages(chat)).to_have_text(["Hello", "You said Hello.", "1 < 2 & a<b>", "You said 1 < 2 & a<b>."])
    picture(chat, "chat")
    settings = {"system_prompt": "You are helpful.", "seed": 7}
    first, second = router.bodies
    assert first == {
        "workflow_id": "talk",
        "input": {**settings, "user_prompt": "Hello"},
        "session_id": first["session_id"],
    }
    assert second == {
        "workflow_id": "talk",
        "input": {**settings, "user_prompt": "1 < 2 & `a<b>`"},
        "session_id": first["session_id"],
        "history": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "You said *Hello*."},
        ],
    }


def test_retry_asks_the_last_question_again_with_a_drawn_seed(router: FakeApi, chat: Page) -> None:
    router.script = answer
    chat.get_by_role("button", name="Retry").click()
    expect(chat.get_by_text("There is nothing to retry yet.")).to_be_visible()
    say(chat, "Hello")
    expect(messages(chat)).to_have_text(["Hello", "You said Hello."])

    async def another(body: Json) -> AsyncIterator[StreamEvent]:
        yield Finished({"generated": "Something else."})

    router.script = another
    chat.get_by_role("button", name="Retry").click()
    expect(messages(chat)).to_have_text(["Hello", "Something else."])
    assert [body.get("seed") for body in router.bodies] == [None, "random"]
    assert "history" not in router.bodies[-1]


def test_stop_keeps_what_came(router: FakeApi, chat: Page) -> None:
    async def endless(body: Json) -> AsyncIterator[StreamEvent]:
        while True:
            yield Chunk("on ", "generated")
            await asyncio.sleep(0.01)

    router.script = endless
    say(chat, "Go")
    expect(messages(chat).nth(1)).to_contain_text("on on")
    chat.get_by_role("button", name="Stop").click()
    expect(chat.get_by_text("Stopped.")).to_be_visible()
    assert router.left.get(timeout=PATIENCE_S)["workflow_id"] == "talk"
    router.script = answer
    say(chat, "And now?")
    expect(messages(chat).nth(3)).to_have_text("You said And now?.")
    assert router.bodies[-1]["history"][1]["content"].startswith("on on")


def test_a_failed_turn_gives_the_message_back(router: FakeApi, chat: Page, picture: Picture) -> None:
    async def refuse(body: Json) -> AsyncIterator[StreamEvent]:
        raise Refused(503, {"code": "loading", "message": "The model is loading.", "hint": "Try again in 5 s."})
        yield

    router.script = refuse
    say(chat, "Hello?")
    expect(chat.get_by_text("The model is loading. Try again in 5 s.")).to_be_visible()
    expect(chat.get_by_placeholder("Your message")).to_have_value("Hello?")
    expect(messages(chat)).to_have_count(0)
    picture(chat, "chat-error")


def test_the_conversation_survives_a_reload_until_it_is_cleared(router: FakeApi, chat: Page, visit: Visit) -> None:
    router.script = answer
    say(chat, "Hello")
    expect(messages(chat)).to_have_text(["Hello", "You said Hello."])
    expect(chat.get_by_role("button", name="Retry")).to_be_enabled()
    chat.reload()
    chat.get_by_role("tab", name="Chat", exact=True).click()
    expect(messages(chat)).to_have_text(["Hello", "You said Hello."])

    stranger = visit().open(chat.url)
    stranger.get_by_role("tab", name="Chat", exact=True).click()
    expect(stranger.get_by_text("Say something to begin.")).to_be_visible()

    chat.get_by_role("button", name="Clear").click()
    expect(messages(chat)).to_have_count(0)
    expect(chat.get_by_text("Cleared.")).to_be_visible()
    say(chat, "Again")
    expect(messages(chat)).to_have_text(["Again", "You said Again."])
    assert "history" not in router.bodies[-1]
