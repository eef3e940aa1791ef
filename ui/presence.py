"""Which pages are open: those to which Gradio is giving an answer that lasts as long as they listen."""

from contextlib import nullcontext
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from ui.live import LiveRuns

_HEARTBEAT = "/gradio_api/heartbeat/"
_QUEUE = "/gradio_api/queue/data"


class Presence:
    """ASGI middleware: tells `live` which sessions listen."""

    def __init__(self, app: ASGIApp, live: LiveRuns) -> None:
        self._app = app
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _listener(scope)
        with self._live.listening(session) if session else nullcontext():
            await self._app(scope, receive, send)


def _listener(scope: Scope) -> str:
    """The session that listens with this request; empty when none does."""
    path: str = scope.get("path", "")
    if path == _QUEUE:
        query: bytes = scope["query_string"]
        return parse_qs(query.decode("latin-1")).get("session_hash", [""])[0]
    return path.removeprefix(_HEARTBEAT) if path.startswith(_HEARTBEAT) else ""
