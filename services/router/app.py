"""The router's process and its ASGI application: every door behind one guard, every failure in one shape."""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from services import logs
from services.errors import ServiceError
from services.process import start
from services.router.core import Core
from services.router.documents import Documents
from services.router.doors.answers import error_response
from services.router.doors.openai_answers import openai_error
from services.router.doors.openai_api import OpenAIApi
from services.router.doors.probes import Probes, open_paths
from services.router.doors.runs_api import RunsApi
from services.router.doors.security import Guard
from services.router.doors.server import serve
from services.router.settings import RouterSettings
from services.router.store.database import StoreError
from services.router.watching import tracing
from services.router.watching.metrics import tool_version
from services.withheld import UnfitEnvironment, read_settings

log = logging.getLogger("services.router")

_CLIENT_GONE = 499


def create_app(settings: RouterSettings) -> tuple[ASGIApp, Core]:
    """The application and what its doors share; raises what Core raises for settings that do not fit."""
    core = Core(settings)

    def refuse(error: ServiceError, scope: Scope) -> Response:
        core.metrics.rejected(error.code)
        return _answer(error, scope)

    async def refused(request: Request, error: ServiceError) -> Response:
        return refuse(error, request.scope)

    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ServiceError: refused,
        HTTPException: _http_error,
        ClientDisconnect: _client_gone,
        Exception: _internal_error,
    }
    app = Starlette(
        routes=[*RunsApi(core).routes(), *OpenAIApi(core).routes(), *Probes(core).routes(), *Documents(core).routes()],
        lifespan=core.lifespan,
        exception_handlers=handlers,
    )
    app.router.redirect_slashes = False
    guard = Guard(
        app,
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        origins=settings.origins,
        token=settings.auth_token,
        open_paths=open_paths(core.base_path),
        refuse=refuse,
    )
    return guard, core


def _answer(error: ServiceError, scope: Scope) -> Response:
    """An error in the shape that the address's clients know."""
    if scope["path"].startswith("/v1/"):
        return openai_error(error)
    return error_response(error, scope["state"]["request_id"])


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        hint = f"Use {allowed}."
        own = ServiceError(405, "method_not_allowed", f"{request.method} is not possible here.", hint=hint)
    else:
        own = ServiceError(404, "not_found", "There is nothing at this address.", hint="/docs lists the addresses.")
    response = _answer(own, request.scope)
    response.headers.update(error.headers or {})
    return response


async def _client_gone(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _internal_error(request: Request, _: Exception) -> Response:
    log.error("a request failed inside the router", extra={"fields": {"request_id": request.state.request_id}})
    error = ServiceError(500, "internal", "Something failed inside the router.", hint="See its log.")
    return _answer(error, request.scope)


def main() -> None:
    """The process: `SETTINGS (--fd N | --host H --port P) [--parent PID]`; ends well after SIGTERM or SIGINT."""
    arguments = start()
    logs.configure()
    tracing.configure(os.environ, tool_version())
    try:
        settings = RouterSettings.model_validate(read_settings(arguments.settings.read_bytes(), os.environ))
    except UnfitEnvironment as error:
        log.error("%s", error)
        raise SystemExit(os.EX_CONFIG) from None
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it would tell of every bad byte in a form
    try:
        app, core = create_app(settings)
    except StoreError as error:
        log.error("%s; %s", error.message, error.hint)
        raise SystemExit(os.EX_OSERR if error.may_pass else os.EX_UNAVAILABLE) from None
    serve(app, arguments, core.runs, settings.shutdown_timeout_s, last_call=settings.in_cluster)


if __name__ == "__main__":
    main()
