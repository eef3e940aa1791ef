"""Who may ask: the door in front of every route, so that no web page and no stranger drives a local server."""

import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import ServiceError
from services.router.watching import tracing

EXPOSED = b"X-Request-Id, X-Task-Id, Retry-After"
ALLOWED_HEADERS = b"Accept, Authorization, Content-Type, Idempotency-Key, Traceparent, Tracestate, X-Request-Id"
_OPENAI_HEADER = re.compile(r"(x-stainless|openai)-[a-z-]{1,40}", re.ASCII | re.IGNORECASE)
"""What OpenAI's client adds of its own in a browser."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::\d{0,5})?", re.ASCII | re.IGNORECASE)
_PROBES = frozenset({"/livez", "/readyz"})
"""What says nothing but how this process is, to whoever stands before it: load balancers ask by the address alone."""
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Guard:
    """ASGI middleware: request id, Host, Origin and CORS, token, in this order.

    host: where the server listens; on loopback only loopback names and `allowed_hosts` may stand in Host, because a
    foreign name there means that a web page reached us through its own DNS; who reads a probe may call us by any name.
    open_paths: need no token. refuse: makes the answer of a refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        allowed_hosts: Iterable[str],
        origins: Iterable[str],
        token: str | None,
        open_paths: Iterable[str],
        refuse: Callable[[ServiceError, Scope], Response],
    ) -> None:
        self._app = app
        self._check_host = is_loopback(host)
        self._hosts = {name.lower() for name in allowed_hosts}
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._token = token.encode() if token is not None else None
        self._open_paths = frozenset(open_paths)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        tracing.accept(request_id, headers.get("traceparent"), headers.get("tracestate"))
        origin = ", ".join(headers.getlist("origin")) if "origin" in headers else None  # several are none of ours
        shared = origin is not None and self._is_shared(origin)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", request_id.encode()))
                if self._origins:
                    message["headers"].append((b"vary", b"Origin"))
                if shared and origin is not None:
                    message["headers"].append((b"access-control-allow-origin", origin.encode("latin-1")))
                    message["headers"].append((b"access-control-expose-headers", EXPOSED))
            await send(message)

        try:
            self._admit(scope, headers, origin, shared)
        except ServiceError as error:
            await self._refuse(error, scope)(scope, receive, send_with_headers)
            return
        if shared and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _send_preflight(send_with_headers, headers.get("access-control-request-headers", ""))
            return
        await self._app(scope, receive, send_with_headers)

    def _admit(self, scope: Scope, headers: Headers, origin: str | None, shared: bool) -> None:
        hosts = headers.getlist("host")
        is_probe = scope["path"] in _PROBES and scope["method"] in ("GET", "HEAD")
        is_checked = self._check_host and not is_probe
        if is_checked and (len(hosts) != 1 or not self._is_known_host(hosts[0])):
            raise ServiceError(
                403,
                "host_not_allowed",
                "This server does not answer to this Host.",
                hint="Use localhost or 127.0.0.1, or add the name to `allowed_hosts` in the file.",
                field="Host",
            )
        if origin is not None and not shared and not _is_same(origin, hosts):
            raise ServiceError(
                403,
                "origin_not_allowed",
                "Web pages of another origin may not use this server.",
                hint="Add the page's origin to `origins` in the file.",
                field="Origin",
            )
        preflight = shared and scope["method"] == "OPTIONS"
        if self._token is not None and scope["path"] not in self._open_paths and not preflight:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode("latin-1"), self._token):
                raise ServiceError(
                    401,
                    "token_required",
                    "This server needs its token, and the request has none or another one.",
                    hint='Send the header "Authorization: Bearer TOKEN" with the file\'s `auth.token`.',
                    field="Authorization",
                )

    def _is_known_host(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return is_loopback(name) or name in self._hosts or host.lower() in self._hosts

    def _is_shared(self, origin: str) -> bool:
        """Whether the file lists this origin."""
        return "*" in self._origins or origin.lower() in self._origins


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_same(origin: str, hosts: list[str]) -> bool:
    """Whether the page came from this very server; behind a proxy its scheme may be https."""
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and len(hosts) == 1 and authority == hosts[0].lower()


async def _send_preflight(send: Send, wanted: str) -> None:
    extra = [name.strip().encode() for name in wanted.split(",") if _OPENAI_HEADER.fullmatch(name.strip())]
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b", ".join([ALLOWED_HEADERS, *extra])),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
