"""The addresses `/openapi.json` and `/docs`; both need the token where there is one, for they tell about the file."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.router.core import Core
from services.router.documents.openapi import openapi
from services.router.values import to_json
from services.router.watching.metrics import tool_version

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page takes its script and style from this server, talks to it alone, and runs nothing that stands in a text."""

_PAGE = {
    "/docs": ("page.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
}


class Documents:
    """Written once, when the router starts: the file does not change under it."""

    def __init__(self, core: Core) -> None:
        settings = core.settings
        self._document = to_json(
            openapi(
                core.graph,
                base_path=core.base_path,
                title=settings.name,
                version=tool_version(),
                token=settings.auth_token is not None,
            )
        )
        folder = files(__package__)
        self._page = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()}

    def routes(self) -> list[Route]:
        return [Route("/openapi.json", self.document), *(Route(path, self.page) for path in _PAGE)]

    async def document(self, _: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def page(self, request: Request) -> Response:
        content, kind = self._page[request.url.path]
        headers = {
            "Content-Type": kind,
            "Content-Security-Policy": _CSP,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
        return Response(content, headers=headers)
