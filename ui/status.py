"""The line under a form or a chat that says how its run is going."""

from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from ui.text import plain

Mood = Literal["calm", "error"]


def make_status() -> gr.Markdown:
    """An empty line. Call it where it is to stand."""
    return gr.Markdown(elem_classes=["status"], latex_delimiters=[])


def say(text: str, mood: Mood = "calm", warnings: Sequence[dict[str, Any]] = ()) -> Any:
    """An update of the line; warnings of a run follow below, one a paragraph."""
    notes = [f"⚠ {plain(str(warning.get('message', '')))}" for warning in warnings]
    return gr.update(value="\n\n".join([plain(text), *notes]), elem_classes=["status", mood])


FAILED = say("The page could not show this run. `model-compose logs page` says why.", "error")
"""For what should not happen: an error of the page itself, after which Gradio runs nothing but a failure's handler."""
