"""A router of the tests: speaks the runs API and does what a small script says, with no model behind it."""

import json
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ui.client import Chunk, Finished, StreamEvent

PATIENCE_S = 20
"""For a machine that is busy with other tests."""

Json = dict[str, Any]
Script = Callable[[Json], AsyncIterator[StreamEvent]]
"""What a run of this body does. Raises Refused before its first event, Broken after it."""


@dataclass
class Refused(Exception):  # noqa: N818 - a script's move, not a fault of the tests
    """An answer with an error status instead of a stream."""

    status: int
    error: Json


@dataclass
class Broken(Exception):  # noqa: N818 - a script's move, not a fault of the tests
    """An `event: error` at the end of a stream."""

    error: Json


def text_input(name: str, **parts: Any) -> Json:
    return {"name": name, "type": "text", "required": False, "default": None, "description": None, **parts}


def workflow(workflow_id: str = "story", **parts: Any) -> Json:
    return {
        "workflow_id": workflow_id,
        "title": "Tell a Story",
        "description": "Continues what you begin.",
        "task": "text-generation",
        "streaming": True,
        "input": [text_input("prompt", required=True, description="The beginning of the text")],
        "output": [{"name": "generated", "type": "text"}],
        **parts,
    }


async def echo(body: Json) -> AsyncIterator[StreamEvent]:
    """The prompt back, a word at a time."""
    text = str(body["input"].get("prompt") or body["input"].get("user_prompt") or "")
    for word in text.split(" "):
        yield Chunk(word + " ", "generated")
    yield Finished({"generated": text + " "})


@dataclass
class FakeApi:
    """Set `workflows` and `script`; read `bodies` and `left` (runs whose client went away)."""

    workflows: list[Json] = field(default_factory=lambda: [workflow()])
    script: Script = echo
    bodies: list[Json] = field(default_factory=list)
    left: queue.Queue[Json] = field(default_factory=queue.Queue)
    cancelled: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    components: Json = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/workflows", self._workflows),
                Route("/api/ready", self._ready),
                Route("/api/workflows/runs", self._run, methods=["POST"]),
                Route("/api/tasks/{task_id}/cancel", self._cancel, methods=["POST"]),
            ]
        )

    async def _workflows(self, request: Request) -> Response:
        self.tokens.append(request.headers.get("Authorization"))
        return JSONResponse(self.workflows)

    async def _ready(self, _: Request) -> Response:
        return JSONResponse({"status": "ready", "components": self.components}, 503)

    async def _cancel(self, request: Request) -> Response:
        self.cancelled.append(request.path_params["task_id"])
        return JSONResponse({})

    async def _run(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        events = self.script(body)
        try:
            first = await anext(events)
        except Refused as refused:
            return JSONResponse({"status": "failed", "error": refused.error}, refused.status)
        if "text/event-stream" in request.headers["Accept"]:
            return StreamingResponse(
                self._stream(body, first, events), media_type="text/event-stream", headers={"X-Task-Id": "01TASK"}
            )
        while isinstance(first, Chunk):
            first = await anext(events)
        return JSONResponse(first.output if body.get("output_only") else {"task_id": "01TASK", "output": first.output})

    async def _stream(self, body: Json, first: StreamEvent, events: AsyncIterator[StreamEvent]) -> AsyncIterator[str]:
        ended = False
        try:
            yield ": a comment\n\n" + _wire(first)
            async for event in events:
                yield _wire(event)
            ended = True
        except Broken as broken:
            ended = True
            yield f"event: error\ndata: {json.dumps({'error': broken.error})}\n\n"
        finally:
            if not ended:
                self.left.put(body)


def _wire(event: StreamEvent) -> str:
    match event:
        case Finished(output, usage, warnings):
            data = json.dumps({"output": output, "usage": usage, "warnings": warnings})
            return f"event: done\ndata: {data}\n\n"
        case Chunk(text, None):
            return "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
        case Chunk(text, path):
            return f"data: {json.dumps({'path': path, 'delta': text})}\n\n"


@contextmanager
def serving(app: Any, *, port: int = 0) -> Iterator[int]:
    """Serve an ASGI application from a thread; gives its port."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)
