"""The HTTP side of a task: `/predict`, `/livez`, `/readyz` and `/metrics`, in front of any other application."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from services.errors import ServiceError
from services.metrics import CONTENT_TYPE as METRICS_TYPE
from services.metrics import Metrics
from services.wire import (
    CONTENT_TYPE,
    LIVE_PATH,
    METRICS_PATH,
    PREDICT_PATH,
    READY_PATH,
    Done,
    Failed,
    Frame,
    Readiness,
    TaskRequest,
    encode,
    encode_text,
)
from services.writing import write

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 32_000_000
"""The router has its own, smaller limit; this one only keeps the process alive."""
_LONGEST_ID = 200
"""Characters of a caller's words that a line of the log takes up."""

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """What the routes lead to."""

    metrics: Metrics

    @property
    def readiness(self) -> Readiness:
        """How far loading is."""

    async def predict(self, request: TaskRequest) -> AsyncGenerator[Frame, None]:
        """Admits a request or raises ServiceError; see services.tasks.base.Task."""


class Routes:
    """An ASGI application: our paths are answered here, everything else goes on to `app`."""

    def __init__(self, app: Application, worker: Worker) -> None:
        self._app = app
        self._worker = worker

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        match (scope["type"], scope.get("method"), scope.get("path")):
            case ("http", "GET", path) if path == LIVE_PATH:
                await _answer(send, 200, {"status": "alive"})
            case ("http", "GET", path) if path == READY_PATH:
                readiness = self._worker.readiness
                await _answer(send, 200 if readiness.stage == "ready" else 503, readiness.to_json())
            case ("http", "GET", path) if path == METRICS_PATH:
                page = await asyncio.to_thread(self._worker.metrics.render)
                await _answer_bytes(send, 200, page, METRICS_TYPE)
            case ("http", "POST", path) if path == PREDICT_PATH:
                await self._predict(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _predict(self, scope: Message, receive: Receive, send: Send) -> None:
        began_s = time.monotonic()
        about = _origin(scope)
        outcome = "cancelled"
        try:
            request = parse_request(await _read_body(receive))
            about = {"call": request.request_id[:_LONGEST_ID], **about}
            frames = await self._worker.predict(request)
            outcome = await _answer_while_heard(frames, receive, send, about)
        except ServiceError as error:
            outcome = error.code
            await _refuse(send, error)
        except Exception as error:  # noqa: BLE001 - the caller gets an answer of ours whatever a library raised
            refusal = _unexpected(error, about)
            outcome = refusal.code
            await _refuse(send, refusal)
        finally:
            self._worker.metrics.ended(outcome)
            duration_s = round(time.monotonic() - began_s, 4)
            _log.info("request ended", extra={"fields": {**about, "status": outcome, "duration_s": duration_s}})


def _origin(scope: Message) -> dict[str, str]:
    """Who asked, for the log: what the router says of the run that a request belongs to."""
    headers = dict(scope["headers"])
    parts = {"request_id": headers.get(b"x-request-id", b""), "trace_id": headers.get(b"traceparent", b"")[3:35]}
    return {key: value.decode("latin-1")[:_LONGEST_ID] for key, value in parts.items() if value}


async def _answer_while_heard(
    frames: AsyncGenerator[Frame, None], receive: Receive, send: Send, about: Mapping[str, str]
) -> str:
    """Send the frames until they end or the caller leaves; `completed`, `cancelled` or the code of the error."""
    answering = asyncio.create_task(_send_frames(frames, send, about))
    leaving = asyncio.create_task(_until_disconnect(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.wait({answering, leaving})
        await frames.aclose()
    return "cancelled" if answering.cancelled() else answering.result()


def parse_request(body: bytes) -> TaskRequest:
    """Raises ServiceError 400 for anything that is not a TaskRequest."""
    try:
        values = json.loads(body)
        return TaskRequest(
            request_id=str(values["request_id"]),
            fields=dict(values["fields"]),
            seed=int(values["seed"]),
            stream=bool(values["stream"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ServiceError(400, "unreadable_request", "The body is no task request.") from None


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServiceError(400, "unreadable_request", "The body ended early.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError(413, "body_too_large", f"The body is longer than {MAX_BODY_BYTES:,} bytes.")
        if not message.get("more_body"):
            return bytes(body)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_frames(frames: AsyncGenerator[Frame, None], send: Send, about: Mapping[str, str]) -> str:
    """Every frame as a line; a failure becomes the last one. Returns `completed` or the failure's code."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", CONTENT_TYPE.encode())]})
    try:
        async for frame in frames:
            last = isinstance(frame, Done)
            line = await _large_line(frame) if last else _line(frame)
            await send({"type": "http.response.body", "body": line, "more_body": not last})
    except ServiceError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a stream never ends in silence
        failure = _unexpected(error, about)
    else:
        return "completed"
    await send({"type": "http.response.body", "body": _line(Failed(failure.to_wire()))})
    return failure.code


def _unexpected(error: Exception, about: Mapping[str, str]) -> ServiceError:
    _log.error("a request failed", exc_info=error, extra={"fields": about})
    return ServiceError(500, "internal_error", "The task failed on this request.")


def _line(frame: Frame) -> bytes:
    return encode(frame.to_json()) + b"\n"


async def _large_line(frame: Frame) -> bytes:
    return await write(frame.to_json(), encode_text) + b"\n"


async def _refuse(send: Send, error: ServiceError) -> None:
    headers = [] if error.retry_after_s is None else [(b"retry-after", str(error.retry_after_s).encode())]
    await _answer(send, error.status, {"error": error.to_wire()}, headers)


async def _answer(send: Send, status: int, value: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    await _answer_bytes(send, status, encode(value), "application/json", headers)


async def _answer_bytes(
    send: Send, status: int, body: bytes, content_type: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    heads = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": heads})
    await send({"type": "http.response.body", "body": body})
