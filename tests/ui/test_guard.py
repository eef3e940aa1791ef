"""Who is answered, and which addresses exist: hosts, origins, methods, paths."""

import itertools

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from ui.guard import MAX_BODY_BYTES, Guard, content_security_policy

pytestmark = pytest.mark.unit

HTML = "<html><script>one()</script><script src='x'></script><script type='module'>two()</script></html>"


async def page(request: Request) -> Response:
    return HTMLResponse(HTML) if request.method == "GET" else PlainTextResponse("done")


SITE = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST"])])


async def ask(path: str, host: str, method: str = "GET", origin: str | None = None, *, uploads: bool = False) -> int:
    guard = Guard(SITE, "127.0.0.1", ["page", "Models.example.com"], uploads=uploads)
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://server") as client:
        return (await client.request(method, path, headers=headers)).status_code


@pytest.mark.parametrize("host", ["localhost:8081", "127.0.0.1", "[::1]:8081", "page:8081", "models.example.com"])
async def test_known_hosts_are_answered(host: str) -> None:
    assert await ask("/", host) == 200
    assert await ask("/login", host, "POST", f"http://{host}") == 200


async def test_beyond_loopback_every_host_is_answered_but_no_other_site() -> None:
    guard = Guard(SITE, "0.0.0.0", [])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://192.168.1.5:8081") as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.post("/login", headers={"Origin": "http://192.168.1.5:8081"})).status_code == 200
        assert (await client.post("/login", headers={"Origin": "http://evil.example"})).status_code == 403


HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8081", "0.0.0.0:8081", "", "localhost@evil"]
ORIGINS = ["http://evil.example", "null", "http://localhost:8080", "http://localhost:8081.evil.example", "file://"]
METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]


@pytest.mark.parametrize(("host", "method"), list(itertools.product(HOSTS, METHODS)))
async def test_foreign_hosts_are_refused(host: str, method: str) -> None:
    assert await ask("/", host, method) == 403


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 200), ("/livez/", 403), ("/config", 403)])
async def test_load_balancers_ask_probes_by_any_name_and_nothing_else(host: str, path: str, status: int) -> None:
    assert await ask(path, host) == status


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 403), ("PUT", 403), ("OPTIONS", 403)])
async def test_by_any_name_probes_are_read_only(path: str, method: str, status: int) -> None:
    assert await ask(path, "evil.example", method) == status


@pytest.mark.parametrize(("origin", "method"), list(itertools.product(ORIGINS, METHODS)))
async def test_other_sites_are_refused(origin: str, method: str) -> None:
    assert await ask("/gradio_api/queue/join", "localhost:8081", method, origin) == 403


@pytest.mark.parametrize(
    ("path", "without_files", "with_files"),
    [
        ("/", 200, 200),
        ("/assets/index.js", 200, 200),
        ("/gradio_api/queue/join", 200, 200),
        ("/gradio_api/heartbeat/abc", 200, 200),
        ("/gradio_api/upload", 404, 200),
        ("/gradio_api/file=/tmp/gradio/x.png", 404, 200),
        ("/gradio_api/file/etc/passwd", 404, 404),
        ("/gradio_api/proxy=http://evil.example", 404, 404),
        ("/gradio_api/run/predict", 404, 404),
        ("/gradio_api/vibe-edit", 404, 404),
        ("/monitoring", 404, 404),
        ("/docs", 404, 404),
    ],
)
async def test_only_what_the_page_needs_exists(path: str, without_files: int, with_files: int) -> None:
    assert await ask(path, "localhost") == without_files
    assert await ask(path, "localhost", uploads=True) == with_files


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MAX_BODY_BYTES)}, 200),
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, 413),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
async def test_bodies_say_how_large_they_are_and_are_bounded(headers: dict[str, str], status: int) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Guard(SITE, "localhost", []))) as client:
        request = httpx.Request("POST", "http://localhost/gradio_api/queue/join", headers=headers)
        assert (await client.send(request)).status_code == status


async def test_the_policy_names_the_inline_scripts_of_the_answer() -> None:
    guard = Guard(SITE, "localhost", [])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost") as client:
        answer = await client.get("/")
    assert answer.text == HTML
    scripts = [part for part in answer.headers["Content-Security-Policy"].split("; ") if part.startswith("script-src")]
    # openssl dgst -sha256 -binary | base64
    assert scripts == [
        "script-src 'self' 'sha256-HR7iaask9daLMRRskMI++QeJtjWDOjyPA6lGzYGzKW4=' "
        "'sha256-iMrPAWirDC2X0OhZzLsM2MRIWSmepJGI4r7D8ZlwBOw='"
    ]


def test_without_html_no_inline_script_runs() -> None:
    assert content_security_policy() == (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; font-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    )
