"""Bad bodies over real sockets: refused with a 4xx in one shape, quickly, while others are served."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from services.router.doors.connection import LINGER_S
from tests.services.router.rig import Stack, begin_run, http
from tests.services.router.test_values import TOO_MUCH, UNREADABLE

pytestmark = pytest.mark.server

JSON = {"Content-Type": "application/json"}


def send(shared: Stack, body: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
    return http("POST", f"{shared.base}/workflows/runs", content=body, headers=headers)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    shown = answer.json()
    assert shown["status"] == "failed"
    assert shown["error"]["request_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, shown["error"]["code"]


@pytest.mark.parametrize("body", UNREADABLE)
def test_unreadable_json_is_400(shared: Stack, body: bytes) -> None:
    assert code_of(send(shared, body)) == (400, "invalid_json")


@pytest.mark.parametrize("body", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_too_deep_or_wide_json_is_413(shared: Stack, body: bytes) -> None:
    assert send(shared, body).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        [],
        1,
        "x",
        None,
        True,
        {"input": 1},
        {"input": []},
        {"inputs": {}},
        {"workflow_id": 3},
        {"history": "x"},
        {"": 1},
    ],
)
def test_json_of_another_shape_is_422(shared: Stack, body: Any) -> None:
    assert send(shared, json.dumps(body).encode()).status_code == 422


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/octet-stream",
        "application/jsonp",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/problem+json",
        "multipart/mixed; boundary=x",
        "application",
        "*/*",
    ],
)
def test_other_content_types_are_415(shared: Stack, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert code_of(send(shared, b"{}", headers)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
def test_json_in_utf8_is_read(shared: Stack, content_type: str) -> None:
    body = b'{"workflow_id": "text", "input": {"prompt": "x"}}'
    assert send(shared, body, {"Content-Type": content_type}).status_code == 200


def test_a_compressed_body_is_415(shared: Stack) -> None:
    assert send(shared, b"{}", {**JSON, "Content-Encoding": "gzip"}).status_code == 415


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def part(name: str, value: bytes, extra: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"garbage", 400),
        (part("input[prompt]", b"x"), 400),
        (b"--y\r\n\r\n--y--", 400),
        (part("input[prompt", b"x") + b"--x--", 400),
        (part("input]", b"x") + b"--x--", 400),
        (part("input[]", b"x") + b"--x--", 400),
        (part("", b"x") + b"--x--", 400),
        (part("input[a]", b"x") + part("input[a]", b"y") + b"--x--", 400),
        (part("input", b"x") + part("input[a]", b"y") + b"--x--", 400),
        (part("input[a]", b"x") + part("input[a][b]", b"y") + b"--x--", 400),
        (part("input[prompt]", b"\xff\xfe") + b"--x--", 400),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nx\r\n--x--", 400),
        (part("input[prompt]", b"x", '; filename="a.txt"') + b"--x--", 422),
        (part("unknown", b"x") + b"--x--", 422),
        (part("input", b"x") + b"--x--", 422),
        (part("output_only", b"perhaps") + b"--x--", 422),
        (part("a" + "[b]" * 70, b"x") + b"--x--", 413),
    ],
    ids=range(18),
)
def test_bad_forms_are_refused(shared: Stack, body: bytes, status: int) -> None:
    assert send(shared, body, FORM).status_code == status


def test_a_form_without_boundary_is_refused(shared: Stack) -> None:
    assert code_of(send(shared, b"x", {"Content-Type": "multipart/form-data"})) == (400, "invalid_form")


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(shared: Stack) -> None:
    with begin_run(shared, "Content-Length: 100000000") as connection:
        began = time.monotonic()
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        assert time.monotonic() - began < 1


def test_an_endless_body_is_refused_at_the_limit_and_not_read_for_long(shared: Stack) -> None:
    """What comes behind the limit is dropped for a moment, so that a client that sends first and reads then is told."""
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with begin_run(shared, "Transfer-Encoding: chunked") as connection:
        for _ in range(40):
            connection.sendall(chunk)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
        began, open_still = time.monotonic(), True
        while open_still:
            try:
                connection.sendall(chunk)
            except OSError:
                open_still = False
        assert time.monotonic() - began < 10 * LINGER_S


def test_a_client_that_leaves_in_its_body_leaves_nothing(shared: Stack) -> None:
    with begin_run(shared, "Content-Length: 1000") as connection:
        connection.sendall(b'{"input"')
    assert shared.get("/health").status_code == 200
    assert "Traceback" not in shared.router.log.read_text()


def test_a_large_body_that_is_fine_is_read(shared: Stack) -> None:
    text = "[{,:" * 2_000_000
    answer = shared.post({"workflow_id": "text", "input": {"prompt": json.dumps({"text": "ok", "pad": text})}})
    assert (answer.status_code, answer.json()["output"]) == (200, "ok")


def test_others_are_answered_while_large_bodies_are_read(shared: Stack) -> None:
    bodies = [
        b'["' + b"x" * 9_000_000 + b'"]',
        b"[" + b"1," * 90_000 + b"1]",
        b"[" * 9_000_000,
        b'"' + b'\\"' * 4_000_000,
    ]
    with ThreadPoolExecutor() as pool:
        sent = [pool.submit(send, shared, body) for body in bodies]
        slowest = 0.0
        while not all(answer.done() for answer in sent):
            began = time.monotonic()
            assert shared.get("/health").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        assert [answer.result().status_code for answer in sent] == [422, 422, 413, 400]
    assert slowest < 0.5
