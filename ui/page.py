"""The whole page as one Gradio application: a tab a workflow, a chat tab beside each chat, and the router's state."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import fastapi
import gradio as gr

from ui.chat import Chat
from ui.client import ApiClient, ApiError
from ui.form import MEDIA
from ui.live import LiveRuns
from ui.panel import run_panel
from ui.presence import Presence
from ui.schema import Workflow
from ui.style import CSS, make_theme
from ui.text import plain, sentence

NEWS_INTERVAL_S = 3
_QUEUE_PAUSE_S = 0.02
"""Gradio looks for work a thousand times a second, which takes 4 % of a processor while nobody is there."""
EMPTY = "There is no workflow to show: those of the file are private."
OUTDATED = "The workflows have changed. Reload this page to see them."


def make_page(
    title: str, workflows: Sequence[Workflow], client: ApiClient, live: LiveRuns, auth: Any = None
) -> fastapi.FastAPI:
    """The ASGI application for these workflows; enter its lifespan before it serves.

    auth: `(user name, password) -> bool`; None: no login.
    """
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        _news(workflows, client)
        chats = {item.id: Chat(item, item.message, client, live) for item in workflows if item.message is not None}
        with gr.Tabs() if workflows else nullcontext():  # without a tab in them, tabs fail in the browser
            for workflow in workflows:
                with gr.Tab(workflow.label):
                    run_panel(workflow, client, live)
                if chat := chats.get(workflow.id):
                    with gr.Tab("Chat" if len(workflows) == 1 else f"{workflow.label}: chat"):
                        chat.build(blocks)
        if not workflows:
            gr.Markdown(EMPTY)
        blocks.unload(_leave(live))
    blocks.queue(default_concurrency_limit=None, api_open=False)
    blocks._queue.sleep_when_free = _QUEUE_PAUSE_S
    site = fastapi.FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        site,
        blocks,
        path="/",
        auth=auth,
        auth_message="Any user name; the password is the token under controller.auth in the file.",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="10mb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        css=CSS,
    )
    site.add_middleware(Presence, live=live)
    return site


def takes_files(workflows: Sequence[Workflow]) -> bool:
    """Whether some field of the page uploads."""
    return any(item.type in MEDIA for workflow in workflows for item in workflow.input)


def _leave(live: LiveRuns) -> Any:
    async def leave(request: gr.Request) -> None:
        live.leave(str(request.session_hash))

    return leave


def _news(workflows: Sequence[Workflow], client: ApiClient) -> None:
    """A line at the top while something keeps this page from working. Built first: see `version`.

    A page that stays open may come to speak with a process that shows other workflows. It knows its functions by
    number only, and this is number 0 in every version; so it can tell the page that it is old.
    """
    current = hashlib.sha256(repr(tuple(workflows)).encode()).hexdigest()
    line = gr.Markdown(visible=False, elem_classes=["news"], latex_delimiters=[])
    version = gr.Textbox(current, visible=False)

    async def look(shown: str | None, version: str) -> Any:
        text = plain(await describe_router(client) if version == current else OUTDATED)
        return gr.skip() if text == (shown or "") else gr.update(value=text, visible=bool(text))

    gr.Timer(NEWS_INTERVAL_S).tick(look, [line, version], line, show_progress="hidden", api_visibility="private")


async def describe_router(client: ApiClient) -> str:
    """What keeps the router from working, in a sentence; empty when nothing does."""
    try:
        ready = await client.ready()
    except ApiError as error:
        return f"{sentence(error)} This page reconnects by itself."
    stages = [
        f"{name} is {_stage(component)}"
        for name, component in ready["components"].items()
        if component.get("stage") != "ready"
    ]
    return f"Not everything is ready: {', '.join(stages)}." if stages else ""


def _stage(component: dict[str, Any]) -> str:
    progress, message = component.get("progress"), component.get("message")
    details = [f"{progress:.0%}"] if isinstance(progress, int | float) else []
    details += [message] if isinstance(message, str) else []
    return f"{component.get('stage')}" + (f" ({': '.join(details)})" if details else "")
