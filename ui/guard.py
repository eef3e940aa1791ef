"""What stands before the page: whom it answers, which of Gradio's addresses exist, and what a browser may load."""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGES = ("/", "/login", "/logout", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json")
_FOLDERS = ("/assets/", "/static/")
_GRADIO = (
    "app_id",
    "cancel",
    "heartbeat/",
    "login_check",
    "queue/data",
    "queue/join",
    "reset",
    "startup-events",
    "theme.css",
)
_UPLOADS = ("file=", "upload", "upload_progress")
_PROBES = ("/livez", "/readyz")
"""What says nothing but how this process is, to whoever stands before it: load balancers ask by the address alone."""
MAX_BODY_BYTES = 16 * 2**20
"""More than a run may bring in text, or a field as a file."""
_INLINE_SCRIPT = re.compile(rb"<script(?:\s[^>]*)?>(.*?)</script>", re.DOTALL)


class Guard:
    """ASGI middleware: refuses other sites' requests and large ones, hides what the page does not need, sets security
    headers.

    host: where the page listens. On loopback only loopback names and `allowed_hosts` may stand in the Host header: a
        foreign name there means that a web site reached us through its own DNS. Who reads a probe may call us by any
        name.
    uploads: whether the page has file fields.
    """

    def __init__(self, app: ASGIApp, host: str, allowed_hosts: Iterable[str], *, uploads: bool = False) -> None:
        self._app = app
        self._check_host = _is_loopback(host)
        self._allowed_hosts = {name.lower() for name in allowed_hosts}
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        # nothing of the page uses a web socket, and one left unanswered is refused

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("Host"), headers.get("Origin")
        is_probe = scope["path"] in _PROBES and scope["method"] in ("GET", "HEAD")
        is_checked = self._check_host and not is_probe
        if is_checked and not (len(hosts) == 1 and self._is_known(hosts[0])):
            await _refuse(403, "This host name is not allowed here.", "Add it to `controller.allowed_hosts`.")(
                scope, receive, send
            )
        elif origin is not None and [origin.partition("://")[2]] != hosts:
            await _refuse(403, "Requests from other web sites are not allowed here.")(scope, receive, send)
        elif not self._exists(scope["path"]):
            await _refuse(404, "There is nothing at this address.")(scope, receive, send)
        elif "Transfer-Encoding" in headers:  # browsers say how much they send, and the server holds them to it
            await _refuse(411, "Send the body's length in Content-Length.")(scope, receive, send)
        elif int(headers.get("Content-Length", "0")) > MAX_BODY_BYTES:
            await _refuse(413, f"The body is too large; {MAX_BODY_BYTES:,} bytes are read.")(scope, receive, send)
        else:
            if scope["path"] == "/":  # its scripts are hashed, which takes an uncompressed answer
                scope = {**scope, "headers": [item for item in scope["headers"] if item[0] != b"accept-encoding"]}
            await self._app(scope, receive, _secured(send))

    def _is_known(self, host: str) -> bool:
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        return _is_loopback(name) or name.lower() in self._allowed_hosts

    def _exists(self, path: str) -> bool:
        if path in (*_PAGES, *_PROBES) or path.startswith(_FOLDERS):
            return True
        names = (*_GRADIO, *_UPLOADS) if self.uploads else _GRADIO
        return path.startswith(tuple(f"/gradio_api/{name}" for name in names))


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_CODES = {403: "forbidden", 404: "not_found", 411: "length_required", 413: "body_too_large"}


def _refuse(status: int, message: str, hint: str | None = None) -> JSONResponse:
    error = {"code": _CODES[status], "message": message}
    return JSONResponse({"error": {**error, "hint": hint} if hint else error}, status)


def content_security_policy(html: bytes = b"") -> str:
    """What the page may load: from here only. The page's own inline scripts run by their hashes, and no others do."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode('ascii')}'"
        for script in _INLINE_SCRIPT.findall(html)
        if script
    ]
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self'", *hashes]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data: blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def _secured(send: Send) -> Send:
    """Adds the headers; holds an HTML answer back until it is whole, because the policy names its scripts."""
    start: Message | None = None
    body = b""

    async def secured(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Content-Security-Policy"] = content_security_policy()
            if headers.get("Content-Type", "").startswith("text/html"):
                start = message
            else:
                await send(message)
        elif start is None:
            await send(message)
        else:
            body += message.get("body", b"")
            if not message.get("more_body", False):
                MutableHeaders(scope=start)["Content-Security-Policy"] = content_security_policy(body)
                await send(start)
                await send({"type": "http.response.body", "body": body})

    return secured
