"""Bodies are read piece by piece, within their limits, and forms become nested objects."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.datastructures import FormData, Headers
from starlette.requests import ClientDisconnect

from services.errors import ServiceError
from services.router.doors import body as body_module
from services.router.doors.body import nested, read_body

pytestmark = pytest.mark.unit

JSON = Headers({"Content-Type": "application/json"})


class Sender:
    """An ASGI `receive` over the given messages; then silence."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages: Iterator[dict[str, Any]] = iter(messages)

    async def __call__(self) -> Any:
        message = next(self._messages, None)
        if message is None:
            await asyncio.Event().wait()
        return message


def piece(content: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_pieces_are_joined() -> None:
    sender = Sender(piece(b'{"a"'), piece(b""), piece(b": 1}", more=False))
    assert await read_body(JSON, sender, 100) == {"a": 1}


async def test_the_limit_holds_without_a_content_length() -> None:
    with pytest.raises(ServiceError) as refused:
        await read_body(JSON, Sender(piece(b"x" * 60), piece(b"x" * 60)), 100)
    assert (refused.value.status, refused.value.message) == (413, "The body is larger than 100 bytes.")


async def test_what_is_too_deep_is_refused_before_the_rest_comes() -> None:
    with pytest.raises(ServiceError) as refused:
        await read_body(JSON, Sender(piece(b"[" * 40), piece(b"[" * 40)), 100)
    assert (refused.value.status, refused.value.code) == (413, "body_too_deep")


async def test_a_body_that_does_not_go_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SILENCE_S", 0.01)
    with pytest.raises(ServiceError) as refused:
        await read_body(JSON, Sender(piece(b"{")), 100)
    assert refused.value.status == 408


async def test_a_client_that_leaves_is_not_answered() -> None:
    with pytest.raises(ClientDisconnect):
        await read_body(JSON, Sender(piece(b"{"), {"type": "http.disconnect"}), 100)


def test_names_nest() -> None:
    form = FormData([("workflow_id", "w"), ("input[a]", "1"), ("input[b][c]", "2"), ("input[b][d-e]", "")])
    assert nested(form) == {"workflow_id": "w", "input": {"a": "1", "b": {"c": "2", "d-e": ""}}}
