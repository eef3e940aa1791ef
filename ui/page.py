"""The whole page as one Gradio application: a tab a workflow, a chat tab beside each chat, and the router's state."""

from collections.abc import Sequence
from typing import Any

import fastapi
import gradio as gr

from ui.chat import Chat
from ui.client import ApiClient, ApiError
from ui.form import MEDIA
from ui.live import LiveRuns
from ui.panel import run_panel
from ui.schema import Workflow
from ui.style import CSS, make_theme
from ui.text import plain, sentence

STATE_INTERVAL_S = 3


def make_page(
    title: str, workflows: Sequence[Workflow], client: ApiClient, live: LiveRuns, auth: Any = None
) -> fastapi.FastAPI:
    """The ASGI application for these workflows; enter its lifespan before it serves.

    auth: `(user name, password) -> bool`; None: no login.
    """
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        _router_state(client)
        with gr.Tabs():
            for workflow in workflows:
                with gr.Tab(workflow.label):
                    run_panel(workflow, client, live)
                if workflow.message is not None:
                    with gr.Tab("Chat" if len(workflows) == 1 else f"{workflow.label}: chat"):
                        Chat(workflow, workflow.message, client, live).build(blocks)
        blocks.unload(_leave(live))
    blocks.queue(default_concurrency_limit=None, api_open=False)
    site = fastapi.FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        site,
        blocks,
        path="/",
        auth=auth,
        auth_message="Any user name; the password is the token of `controller.auth` in the file.",
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
    return site


def takes_files(workflows: Sequence[Workflow]) -> bool:
    """Whether some field of the page uploads."""
    return any(item.type in MEDIA for workflow in workflows for item in workflow.input)


def _leave(live: LiveRuns) -> Any:
    def leave(request: gr.Request) -> None:
        live.leave(str(request.session_hash))

    return leave


def _router_state(client: ApiClient) -> None:
    """A line at the top while the router cannot be reached or its models are not ready."""
    line = gr.Markdown(visible=False, elem_classes=["router-state"], latex_delimiters=[])
    said = gr.State("")

    async def look(before: str) -> tuple[Any, Any]:
        text = await describe_router(client)
        if text == before:
            return gr.skip(), gr.skip()
        return gr.update(value=plain(text), visible=bool(text)), text

    gr.Timer(STATE_INTERVAL_S).tick(look, said, [line, said], show_progress="hidden", api_visibility="private")


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
    progress = component.get("progress")
    return f"{component.get('stage')}" + (f" ({progress:.0%})" if isinstance(progress, int | float) else "")
