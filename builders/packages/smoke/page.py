"""Imports what the page's process imports, and makes a page of it."""

import importlib

for name in ("anyio", "gradio", "httpx", "starlette.applications", "uvicorn.lifespan.on", "uvicorn.loops.auto"):
    importlib.import_module(name)
for name in ("uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"):
    importlib.import_module(name)


def make_page() -> None:
    """A form and a chat."""
    import gradio

    with gradio.Blocks() as page:
        with gradio.Tab("form"):
            gradio.Textbox()
            gradio.Number()
            gradio.Button()
        with gradio.Tab("chat"):
            gradio.Chatbot()
    gradio.mount_gradio_app(importlib.import_module("starlette.applications").Starlette(), page, path="/")


make_page()
