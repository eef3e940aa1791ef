"""The chat tab of a workflow over a chat model: a conversation that the browser keeps, with stop and retry."""

from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from ui.client import ApiClient, ApiError
from ui.form import InputError, collect, make_field
from ui.live import LiveRuns, StoppedError
from ui.panel import describe
from ui.result import Answer
from ui.schema import Input, Workflow
from ui.status import FAILED, make_status, say
from ui.text import safe_markdown, sentence

Turns = list[dict[str, str]]
"""`{role: user | assistant, content}`, oldest first: the API's `history`, in the texts' own words."""

Updates = tuple[Any, ...]

STORAGE_SECRET = "model-compose"  # noqa: S105 - obscures, protects nothing: the browser gets it with the page
"""Fixed, so that a conversation outlives a restart of the page's process."""


class Chat:
    """One chat tab. Make it outside of every tab, for in a hidden one what the browser kept is not read; then build."""

    def __init__(self, workflow: Workflow, message: Input, client: ApiClient, live: LiveRuns) -> None:
        self._workflow = workflow
        self._message = message
        self._settings = [item for item in workflow.input if item is not message]
        self._client = client
        self._live = live
        self._name = f"chat:{workflow.id}"
        self._kept = gr.BrowserState([], storage_key=f"model-compose:{self._name}", secret=STORAGE_SECRET)

    def build(self, page: gr.Blocks) -> None:
        """Put the tab's content here and wire it; the conversation comes back when `page` is loaded."""
        describe(self._workflow)
        chatbot = gr.Chatbot(
            show_label=False,
            height="55vh",
            sanitize_html=True,
            latex_delimiters=[],
            buttons=["copy"],
            allow_tags=False,
            feedback_options=None,
            placeholder="Say something to begin.",
            elem_classes=["conversation"],
        )
        text = gr.Textbox(
            label="Message",
            show_label=False,
            placeholder="Your message",
            lines=1,
            max_lines=8,
            submit_btn=True,
            elem_classes=["message"],
        )
        with gr.Row():
            stop_button = gr.Button("Stop", size="sm", scale=0, min_width=112, interactive=False)
            retry_button = gr.Button("Retry", size="sm", scale=0, min_width=112)
        status = make_status()
        settings: list[Any] = []
        if self._settings:
            with gr.Accordion("Settings", open=False):
                settings = [make_field(item) for item in self._settings]

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        changed = [text, chatbot, self._kept, stop_button, retry_button, status]
        buttons = [stop_button, retry_button]
        # the browser takes no new message before a turn has wholly ended, so the buttons change back only then
        for turn in (
            text.submit(self._send, [text, self._kept, *settings], changed, **quiet),
            retry_button.click(self._retry, [self._kept, *settings], changed, **quiet),
        ):
            turn.then(lambda: _RESTING, None, buttons, **quiet)
            turn.failure(lambda: (*_RESTING, FAILED), None, [*buttons, status], **quiet)
        stop_button.click(self._stop, **quiet)
        chatbot.clear(lambda: ([], say("Cleared.")), None, [self._kept, status], **quiet)
        page.load(lambda kept: _pictures(_turns(kept)), self._kept, chatbot, **quiet)

    async def _send(self, request: gr.Request, message: str, kept: Any, *values: Any) -> AsyncGenerator[Updates, None]:
        if not message.strip():
            yield (*_same(5), say("Write a message first.", "error"))
            return
        history = _turns(kept)
        async for updates in self._turn(request, message, history, values, (message, history)):
            yield updates

    async def _retry(self, request: gr.Request, kept: Any, *values: Any) -> AsyncGenerator[Updates, None]:
        """Ask the last question again, without its answer, and with a seed drawn for it."""
        before = _turns(kept)
        turns = [*before]
        while turns and turns[-1]["role"] == "assistant":
            turns.pop()
        if not turns:
            yield (*_same(5), say("There is nothing to retry yet.", "error"))
            return
        message = turns.pop()["content"]
        async for updates in self._turn(request, message, turns, values, ("", before), seed="random"):
            yield updates

    async def _stop(self, request: gr.Request) -> None:
        self._live.stop(str(request.session_hash), self._name)

    async def _turn(
        self,
        request: gr.Request,
        message: str,
        history: Turns,
        values: tuple[Any, ...],
        before: tuple[str, Turns],
        *,
        seed: str | None = None,
    ) -> AsyncGenerator[Updates, None]:
        """One question and its answer. before: the message box and the conversation to go back to without answer."""
        try:
            given = collect(self._settings, values)
        except InputError as error:
            yield (*_same(5), say(f"{error} (See Settings.)", "error"))
            return
        given[self._message.name] = message
        session, answer = str(request.session_hash), Answer(self._workflow.output)
        asked = [*history, {"role": "user", "content": message}]
        draft = gr.skip() if seed is not None else ""  # a retry leaves alone what is being written
        yield (draft, _pictures(asked, ""), asked, *_BUSY, say("Answering …"))
        events = self._client.stream(self._workflow.id, given, session_id=session, history=history, seed=seed)
        failed = False
        try:
            async for _ in self._live.follow(session, self._name, events, answer):
                yield (gr.skip(), _pictures(asked, answer.text()), *_same(4))
        except StoppedError:
            end = say("Stopped.")
        except ApiError as error:
            failed, end = True, say(sentence(error), "error")
        else:
            end = say("", warnings=answer.finished.warnings if answer.finished else ())
        if said := answer.text():
            unsent, turns = "", [*asked, {"role": "assistant", "content": said}]
        else:
            unsent, turns = before if failed else ("", asked)
        yield (unsent or gr.skip(), _pictures(turns), turns, *_same(2), end)


_BUSY: Updates = (gr.update(interactive=True), gr.update(interactive=False))
_RESTING: Updates = (gr.update(interactive=False), gr.update(interactive=True))


def _same(count: int) -> Updates:
    return (gr.skip(),) * count


def _turns(kept: Any) -> Turns:
    """What the browser kept, when it still is a conversation."""
    match kept:
        case [*items] if all(_is_turn(item) for item in items):
            return list(items)
    return []


def _is_turn(item: Any) -> bool:
    match item:
        case {"role": "user" | "assistant", "content": str()}:
            return True
    return False


def _pictures(turns: Turns, coming: str | None = None) -> list[dict[str, str]]:
    """The turns as the chat shows them, and below them the answer as far as it has come."""
    shown = [{"role": turn["role"], "content": safe_markdown(turn["content"])} for turn in turns]
    return shown if coming is None else [*shown, {"role": "assistant", "content": safe_markdown(coming)}]
