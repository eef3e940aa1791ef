"""Who may ask: every combination of Host, Origin and method, the token, and CORS to the letter."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import pytest

from services.router.doors.security import is_loopback
from services.router.settings import RouterSettings
from tests.services.router.rig import Service, http, router, text, workflow

PAGE = "https://page.example"


def settings_of(**changes: object) -> RouterSettings:
    component = text(endpoint="unix:/nobody")
    return RouterSettings.model_validate({"components": (component,), "workflows": (workflow("text"),), **changes})


@pytest.fixture(scope="module")
def routers() -> Iterator[dict[str, Service]]:
    """`plain`; `open`, which lists an origin, a host name and has a token; `wide`, which listens everywhere."""
    kinds = {
        "plain": settings_of(),
        "open": settings_of(origins=(PAGE,), allowed_hosts=("Box.local",), auth_token="tökén"),
        "wide": settings_of(host="0.0.0.0", auth_token="t"),
    }
    with ExitStack() as opened:
        found = {}
        for name, settings in kinds.items():
            folder = Path(opened.enter_context(TemporaryDirectory(prefix="mc-")))
            found[name] = opened.enter_context(router(folder, settings))
        yield found


def ask(service: Service, method: str, path: str = "/api/workflows", **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return http(method, service.address + path, headers=given)


METHODS = ("GET", "POST", "OPTIONS", "DELETE", "HEAD")


@pytest.mark.server
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]:8080", True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("box.local", False),
        ("[::1", False),
        ("localhost:80@evil.example", False),
        ("localhost:", True),
        ("localhost:http", False),
        ("localhost:80:80", False),
        ("[::1]evil.example", False),
        ("[::1]:80@evil.example", False),
        ("localhost.", False),
        ("localhost/evil.example", False),
        ("evil.example@localhost", False),
        ("", False),
    ],
)
def test_a_foreign_host_is_refused_for_every_method(
    routers: dict[str, Service], method: str, host: str, known: bool
) -> None:
    answer = ask(routers["plain"], method, Host=host)
    assert (answer.status_code == 403) != known
    if not known and method != "HEAD":
        assert answer.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.server
@pytest.mark.parametrize("host", ["10.0.0.1:8080", "[fd00::1]:8080", "evil.example", ""])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 200), ("/livez/", 403), ("/readyz/../metrics", 403), ("/metrics", 403), ("/", 403)],
)
def test_load_balancers_ask_probes_by_any_name_and_nothing_else(
    routers: dict[str, Service], host: str, path: str, status: int
) -> None:
    assert ask(routers["plain"], "GET", path, Host=host).status_code == status


@pytest.mark.server
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 403), ("OPTIONS", 403), ("DELETE", 403)])
def test_by_any_name_probes_are_read_only(routers: dict[str, Service], path: str, method: str, status: int) -> None:
    assert ask(routers["plain"], method, path, Host="evil.example").status_code == status


@pytest.mark.server
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_page_of_another_origin_may_not_even_ask_probes(routers: dict[str, Service], path: str) -> None:
    assert ask(routers["plain"], "GET", path, Origin=PAGE).status_code == 403


@pytest.mark.server
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/api/workflows", "/api/workflows/runs", "/health", "/nope"])
@pytest.mark.parametrize(
    "origin", [PAGE, "null", "http://localhost:1", "http://127.0.0.1", "https://localhost.evil", "file://", ""]
)
def test_a_page_of_another_origin_is_refused(routers: dict[str, Service], method: str, path: str, origin: str) -> None:
    answer = ask(routers["plain"], method, path, Origin=origin)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.server
def test_two_origins_are_refused_whatever_they_are(routers: dict[str, Service]) -> None:
    plain = routers["plain"]
    own = ("Origin", plain.address)
    for other in (PAGE, plain.address, "null"):
        for headers in ([own, ("Origin", other)], [("Origin", other), own]):
            assert http("GET", f"{plain.address}/api/workflows", headers=headers).status_code == 403


@pytest.mark.server
def test_our_own_origin_is_let_in(routers: dict[str, Service]) -> None:
    plain = routers["plain"]
    assert ask(plain, "GET", Origin=plain.address).status_code == 200
    assert ask(plain, "GET", Origin=plain.address.replace("http", "https")).status_code == 200


@pytest.mark.server
def test_a_listed_origin_is_answered_by_name(routers: dict[str, Service]) -> None:
    answer = ask(routers["open"], "GET", "/api/health", Origin=PAGE)
    shown = {name: value for name, value in answer.headers.items() if name.startswith(("access", "vary"))}
    assert (answer.status_code, shown) == (
        200,
        {
            "vary": "Origin",
            "access-control-allow-origin": PAGE,
            "access-control-expose-headers": "X-Request-Id, X-Task-Id, Retry-After",
        },
    )


@pytest.mark.server
def test_a_preflight_needs_no_token_and_a_foreign_one_gets_nothing(routers: dict[str, Service]) -> None:
    path = "/api/workflows/runs"
    answer = ask(routers["open"], "OPTIONS", path, Origin=PAGE, Access_Control_Request_Method="POST")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    allowed = "Accept, Authorization, Content-Type, Idempotency-Key, Traceparent, Tracestate, X-Request-Id"
    assert answer.headers["access-control-allow-headers"] == allowed
    foreign = ask(routers["open"], "OPTIONS", path, Origin=PAGE + ".evil", Access_Control_Request_Method="POST")
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.server
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("tökén", 401),
        ("Bearer", 401),
        ("Bearer token", 401),
        ("Bearer  tökén", 200),
        ("bearer tökén", 200),
        ("Basic tökén", 401),
        ("Bearer tökén2", 401),
    ],
)
def test_the_token_is_asked_for(routers: dict[str, Service], authorization: str | None, status: int) -> None:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
    answer = http("GET", f"{routers['open'].address}/api/workflows", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.server
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/health", 200),
        ("/api/ready", 503),
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/api/tasks", 401),
        ("/api/workflows", 401),
        ("/api/workflows/runs", 401),
        ("/nope", 401),
    ],
)
def test_only_health_and_readiness_need_no_token(routers: dict[str, Service], path: str, status: int) -> None:
    assert ask(routers["open"], "GET", path).status_code == status


@pytest.mark.server
def test_listed_hosts_are_known_in_any_case(routers: dict[str, Service]) -> None:
    assert ask(routers["open"], "GET", "/livez", Host="BOX.LOCAL:8080").status_code == 200


@pytest.mark.server
def test_a_server_for_the_network_answers_to_any_name(routers: dict[str, Service]) -> None:
    assert ask(routers["wide"], "GET", "/livez", Host="anything.example").status_code == 200


@pytest.mark.server
@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_no_host_and_two_hosts_are_refused(routers: dict[str, Service], hosts: str) -> None:
    address = urlsplit(routers["plain"].address)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"GET /api/workflows HTTP/1.1\r\n{hosts}\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 403 ")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("x", False)],
)
def test_loopback_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
