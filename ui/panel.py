"""The tab of one workflow: fields, Run Workflow and Cancel, the output as it comes."""

import time
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from ui.client import ApiClient, ApiError
from ui.form import InputError, collect, make_field
from ui.live import LiveRuns, StoppedError
from ui.result import Answer, make_output, show, summary
from ui.schema import Workflow
from ui.status import FAILED, make_status, say
from ui.text import plain, safe_markdown, sentence

Updates = tuple[Any, ...]


def run_panel(workflow: Workflow, client: ApiClient, live: LiveRuns) -> None:
    """Put the tab's content here and wire it."""
    describe(workflow)
    with gr.Row():
        with gr.Column(min_width=320):
            fields = [make_field(item) for item in workflow.input]
            with gr.Row():
                run_button = gr.Button("Run Workflow", variant="primary")
                cancel_button = gr.Button("Cancel", interactive=False)
            status = make_status()
        with gr.Column(min_width=320):
            alone = len(workflow.output) == 1
            outputs = [make_output(output, alone=alone) for output in workflow.output]

    async def run(request: gr.Request, *values: Any) -> AsyncGenerator[Updates, None]:
        try:
            given = collect(workflow.input, values)
        except InputError as error:
            yield (*_SAME, say(str(error), "error"), *_unchanged(workflow))
            return
        session, began = str(request.session_hash), time.monotonic()
        answer = Answer(workflow.output)
        yield (*_BUSY, _running(0), *_shown(workflow, answer))
        events = client.stream(workflow.id, given, session_id=session)
        try:
            async for _ in live.follow(session, workflow.id, events, answer):
                yield (*_SAME, _running(time.monotonic() - began), *_shown(workflow, answer))
        except StoppedError:
            end = say("Cancelled.")
        except ApiError as error:
            end = say(sentence(error), "error")
        else:
            finished = answer.finished
            assert finished is not None, "a stream ends with Finished or ApiError"
            end = say(summary(finished, time.monotonic() - began), warnings=finished.warnings)
        yield (*_SAME, end, *_shown(workflow, answer))

    async def cancel(request: gr.Request) -> None:
        live.stop(str(request.session_hash), workflow.id)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    buttons = [run_button, cancel_button]
    # the browser takes no new click before a run has wholly ended, so the buttons wake up only then
    running = run_button.click(run, fields, [*buttons, status, *outputs], **quiet)
    running.then(lambda: _RESTING, None, buttons, **quiet)
    running.failure(lambda: (*_RESTING, FAILED), None, [*buttons, status], **quiet)
    cancel_button.click(cancel, **quiet)


_SAME: Updates = (gr.skip(), gr.skip())
_BUSY: Updates = (gr.update(interactive=False), gr.update(interactive=True))
_RESTING: Updates = (gr.update(interactive=True), gr.update(interactive=False))


def _running(elapsed_s: float) -> Any:
    return say(f"Running … {elapsed_s:.0f} s" if elapsed_s >= 1 else "Running …")


def describe(workflow: Workflow) -> None:
    """Title and description, as the file gives them."""
    text = f"## {plain(workflow.label)}"
    if workflow.description:
        text += f"\n\n{safe_markdown(workflow.description)}"
    gr.Markdown(text, latex_delimiters=[], elem_classes=["about"])


def _shown(workflow: Workflow, answer: Answer) -> Updates:
    return tuple(show(output, value) for output, value in zip(workflow.output, answer.values(), strict=True))


def _unchanged(workflow: Workflow) -> Updates:
    return tuple(gr.skip() for _ in workflow.output)
