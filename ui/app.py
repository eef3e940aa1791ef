"""The page's process: answers at once, builds the page as soon as the router names its workflows, and keeps it fresh.

Gradio fixes an application's components when it is built, and takes two seconds to import. So this process serves
first: a waiting page that reloads itself, until the router has answered. Each time the page is loaded the router is
asked again; when its workflows have changed, a new Gradio application takes the place of the old one.
"""

import asyncio
import hmac
import html
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services import logs
from services.importing import changed_at_import
from services.process import open_socket, start
from services.withheld import UnfitEnvironment, read_settings
from ui.client import ApiClient, ApiError
from ui.guard import Guard
from ui.schema import Workflow
from ui.settings import PageSettings
from ui.text import sentence

log = logging.getLogger(__name__)

FIRST_QUESTION_INTERVAL_S = 0.2
QUESTION_TIMEOUT_S = 2
_IMPORT_NICENESS = 5

ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",  # its own statistics, kept in memory and summed up again and again
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Set before Gradio is imported: it asks for versions and counts uses otherwise."""

_WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="2"><title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 20vh auto; padding: 0 1.5rem; }}
  h1 {{ font-size: 1.25rem; }}
  small {{ opacity: .7; }}
</style></head>
<body><h1>{title}</h1><p role="status">{sentence}</p><p><small>This page reconnects by itself.</small></p></body></html>
"""


class Page:
    """The application behind the guard, and what it knows of the router."""

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings
        self._client = ApiClient(settings.api_url, settings.auth_token)
        self._gradio: ASGIApp | None = None
        self._imported = False
        self._workflows: tuple[Workflow, ...] = ()
        self._problem = "The page is starting."
        self._asking = asyncio.Lock()
        self._lifetime = AsyncExitStack()
        self._end_streams: Callable[[], None] = lambda: None
        site = Starlette(
            routes=[Route("/livez", self._live), Route("/readyz", self._ready), Mount("/", self._serve)],
            lifespan=self._lifespan,
        )
        self.app = Guard(site, settings.host, settings.allowed_hosts)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._client, self._lifetime:
            preparing = asyncio.create_task(self._prepare())
            yield
            preparing.cancel()

    async def _prepare(self) -> None:
        with ThreadPoolExecutor(1, "import", initializer=_step_back) as importer:
            await asyncio.get_running_loop().run_in_executor(importer, _import_page)
        self._imported = True
        while self._gradio is None:
            await self._ask_router()
            await asyncio.sleep(FIRST_QUESTION_INTERVAL_S)

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _ready(self, _: Request) -> Response:
        """Ready means able to show something; the router has its own readiness."""
        return JSONResponse({"stage": "ready"}) if self._imported else JSONResponse({"stage": "loading"}, 503)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/" and self._imported:
            await self._ask_router()
        application = self._gradio or self._waiting_page()
        await application(scope, receive, send)

    def _waiting_page(self) -> Response:
        texts = {"title": self._settings.title, "sentence": self._problem}
        page = _WAITING.format_map({name: html.escape(text) for name, text in texts.items()})
        return HTMLResponse(page, 503, {"Retry-After": "2", "Cache-Control": "no-store"})

    async def _ask_router(self) -> None:
        """Build the page anew when the router's workflows are not those that it shows."""
        async with self._asking:
            try:
                async with asyncio.timeout(QUESTION_TIMEOUT_S):
                    found = await self._client.workflows()
                workflows = tuple(Workflow.model_validate(schema) for schema in found)
            except ApiError as error:
                self._problem = sentence(error)
            except TimeoutError:
                self._problem = "The router does not answer."
            except ValidationError:
                log.exception("the router's schema cannot be read")
                self._problem = "The router and the page are of different versions."
            else:
                if self._gradio is None or workflows != self._workflows:
                    await self._build(workflows)

    async def _build(self, workflows: tuple[Workflow, ...]) -> None:
        from ui.live import LiveRuns
        from ui.page import make_page, takes_files

        auth = self._check_password if self._settings.auth_token else None
        application = make_page(self._settings.title, workflows, self._client, LiveRuns(), auth)
        self.end_streams()  # pages of the old application reload when their stream ends
        await self._lifetime.enter_async_context(application.router.lifespan_context(application))
        mounted: Any = next(route.app for route in application.routes if isinstance(route, Mount))
        self._end_streams = mounted.stop_event.set
        self.app.uploads = takes_files(workflows)
        self._workflows, self._gradio = workflows, application

    def end_streams(self) -> None:
        """End the answers that last as long as their page is open."""
        self._end_streams()

    def _check_password(self, _: str, password: str) -> bool:
        token = self._settings.auth_token or ""
        return hmac.compare_digest(password.encode(), token.encode())


def _import_page() -> None:
    """Gradio describes its components in files for editors whenever it is imported: half of the time for nothing."""

    def leave_descriptions(module: Any) -> None:
        module.create_or_modify_pyi = lambda *_, **__: None

    with changed_at_import("gradio.component_meta", leave_descriptions):
        import_module("ui.page")


def _step_back() -> None:
    """This thread lets others go first: models load at the same time, and nobody can use the page before them."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with suppress(PermissionError):  # it is further back already, which only root may undo
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _IMPORT_NICENESS)


class _Server(uvicorn.Server):
    """Ends the endless answers first, so that stopping does not wait for every open page."""

    def __init__(self, page: Page) -> None:
        super().__init__(
            uvicorn.Config(
                page.app,
                http="h11",  # the one of uvicorn's that reads no head without end
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=2,
            )
        )
        self._page = page

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._page.end_streams()
        super().handle_exit(sig, frame)


def main() -> None:
    """Serve the page that the command line describes, until told to stop."""
    arguments = start()
    logs.configure()
    if find_spec("gradio") is None:
        sys.exit("The page needs Gradio, which is not installed. Install it with: pip install 'model-compose[page]'")
    os.environ.update(ENVIRONMENT)
    try:
        settings = PageSettings.model_validate(read_settings(arguments.settings.read_bytes(), os.environ))
    except UnfitEnvironment as error:
        log.error("%s", error)
        raise SystemExit(os.EX_CONFIG) from None
    with open_socket(arguments) as listening:
        _Server(Page(settings)).run(sockets=[listening])


if __name__ == "__main__":
    main()
