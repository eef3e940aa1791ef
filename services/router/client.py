"""The router's side of services.wire: one connection a request, closed to cancel, never parsed twice."""

import asyncio
import errno
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

import aiohttp

from services.errors import ServiceError
from services.router.values import loads_finite
from services.wire import (
    LIVE_PATH,
    PREDICT_PATH,
    READY_PATH,
    Delta,
    Done,
    Failed,
    Frame,
    Readiness,
    TaskRequest,
    parse_frame,
)

OnDelta = Callable[[Delta], Awaitable[None]]

_PROBE_TIMEOUT_S = 1.0
_DOUBT_AFTER_S = 2.0
"""How long a request may be without an answer before the task is asked for a sign of life, again and again."""
_LIFE_TIMEOUT_S = 5.0
_KEEP_ALIVE_S = 4.0
"""Below the five seconds after which servers close idle connections, so that a pooled one is rarely stale."""
_LAST_BYTES_S = 1.0
_MAX_LINE_BYTES = 64 * 1024 * 1024
_LONGEST_RETRY_S = 60


class TaskCaller(Protocol):
    """What the engine needs of a task service."""

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        """The task's answer; awaits `on_delta` for each piece of text. Cancelling it cancels the work in the task.

        Raises ServiceError: the task's own refusals and failures, 503 `not_ready`, 502 `task_crashed`.
        """
        ...

    async def readiness(self) -> Readiness: ...


class TaskClient:
    """Talks to one task service at `unix:/path` or `http://host:port`.

    stages_path: where the supervisor says how far a task is that does not answer yet.
    """

    def __init__(self, component: str, endpoint: str, stages_path: str | None = None) -> None:
        self._component = component
        self._stages_path = Path(stages_path) if stages_path is not None else None
        self._ready = False
        self._unanswered: set[asyncio.Timeout] = set()
        self._doubt: asyncio.Task[None] | None = None
        connector: aiohttp.BaseConnector
        if endpoint.startswith("unix:"):
            connector = aiohttp.UnixConnector(endpoint.removeprefix("unix:"), limit=0, keepalive_timeout=_KEEP_ALIVE_S)
            self._base = "http://localhost"
        else:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
            self._base = endpoint.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json"},
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
        await self._session.close()

    async def readiness(self) -> Readiness:
        """What the task says of itself, else what the supervisor says of it, else `absent`."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S), self._session.get(self._base + READY_PATH) as response:
                if response.status == 200:
                    self._ready = True
                    return Readiness("ready")
                readiness = _readiness(json.loads(await response.read()))
                if readiness is not None:
                    return readiness
        except (aiohttp.ClientError, OSError, ValueError):
            pass  # TimeoutError is an OSError; whoever does not answer is looked up below
        self._ready = False
        return self._stage()

    def _stage(self) -> Readiness:
        if self._stages_path is not None:
            try:
                readiness = _readiness(json.loads(self._stages_path.read_bytes()).get(self._component))
            except (OSError, ValueError, AttributeError):
                readiness = None
            if readiness is not None and readiness.stage != "ready":
                return readiness
        return Readiness("absent")

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if not self._ready:
            readiness = await self.readiness()
            if readiness.stage != "ready":
                raise self._not_ready(readiness)
        body = json.dumps(request.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
        response = await self._open(body)
        try:
            if response.status != 200:
                await self._refused(response)
            async for frame in self._frames(response):
                match frame:
                    case Delta():
                        if on_delta is not None:
                            await on_delta(frame)
                    case Done():
                        await _read_end(response)
                        return frame
                    case Failed():
                        raise self._error(frame.error)
        except (aiohttp.ClientError, OSError) as error:
            self._ready = False
            raise self._crashed() from error
        finally:
            response.close()  # what is not read to its end is cancelled by this
        self._ready = False
        raise self._crashed()

    async def _open(self, body: bytes) -> aiohttp.ClientResponse:
        """Send the request, a second time when the task had closed the connection without reading it."""
        for again in (True, False):
            patience = asyncio.timeout(None)
            try:
                async with patience:
                    return await self._answered(patience, self._session.post(self._base + PREDICT_PATH, data=body))
            except aiohttp.ClientConnectorError:
                raise self._not_ready(await self.readiness()) from None
            except (aiohttp.ClientError, OSError) as error:
                if patience.expired():
                    raise self._not_ready(self._stage()) from None
                if not (again and _nothing_was_read(error)):
                    self._ready = False
                    raise self._crashed() from error
        raise AssertionError("unreachable")

    async def _answered(
        self, patience: asyncio.Timeout, answer: Awaitable[aiohttp.ClientResponse]
    ) -> aiohttp.ClientResponse:
        """The head of the answer. Connecting tells nothing: while a task starts again, its socket takes requests."""
        self._unanswered.add(patience)
        if self._doubt is None or self._doubt.done():
            self._doubt = asyncio.create_task(self._doubt_unanswered())
        try:
            return await answer
        finally:
            self._unanswered.discard(patience)

    async def _doubt_unanswered(self) -> None:
        """End the patience with unanswered requests when the task gives no sign of life."""
        while self._unanswered:
            await asyncio.sleep(_DOUBT_AFTER_S)
            if self._unanswered and not await self._lives():
                self._ready = False
                for patience in self._unanswered:
                    patience.reschedule(0)

    async def _lives(self) -> bool:
        try:
            async with asyncio.timeout(_LIFE_TIMEOUT_S), self._session.get(self._base + LIVE_PATH):
                return True
        except (aiohttp.ClientError, OSError):
            return False

    async def _frames(self, response: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
        begun: list[bytes] = []  # the pieces of a line whose end has not come
        size = 0
        async for chunk in response.content.iter_any():
            begun.append(chunk)
            size += len(chunk)
            if size > _MAX_LINE_BYTES:
                raise self._garbled()
            if b"\n" in chunk:
                *lines, rest = b"".join(begun).split(b"\n")
                begun, size = [rest], len(rest)
                for line in lines:
                    if line:
                        yield self._frame(line)

    def _frame(self, line: bytes) -> Frame:
        try:
            value = loads_finite(line)
        except OverflowError:
            raise ServiceError(
                500,
                "non_finite_output",
                f'The model of "{self._component}" answered with a number that is not finite.',
                hint="Try another precision, such as float32.",
            ) from None
        except ValueError:
            raise self._garbled() from None
        try:
            return parse_frame(value)
        except (KeyError, ValueError, TypeError):
            raise self._garbled() from None

    async def _refused(self, response: aiohttp.ClientResponse) -> NoReturn:
        try:
            error = json.loads(await response.read())["error"]
        except (ValueError, KeyError, TypeError):
            raise self._garbled() from None
        refusal = self._error(error)
        self._ready = refusal.code != "not_ready"  # a task that is full is ready, and to ask it again is more load
        raise refusal

    def _error(self, wire: dict[str, Any]) -> ServiceError:
        try:
            error = ServiceError.from_wire(wire)
        except (KeyError, ValueError, TypeError):
            return self._garbled()
        if error.status in (429, 503) and error.retry_after_s is None:
            error.retry_after_s = 1
        return error if 400 <= error.status < 600 else self._garbled()

    def _not_ready(self, readiness: Readiness) -> ServiceError:
        retry_after_s = min(max(math.ceil(readiness.seconds_left or 2), 1), _LONGEST_RETRY_S)
        progress = f" ({readiness.progress:.0%})" if readiness.progress is not None else ""
        stage = "not answering" if readiness.stage in ("absent", "ready") else f"{readiness.stage}{progress}"
        told = readiness.stage == "absent" and readiness.message is not None  # such as that it was stopped
        reason = ": ".join(filter(None, ["" if told else stage, readiness.message]))
        return ServiceError(
            503,
            "not_ready",
            f'The service "{self._component}" is not ready: {reason}.',
            hint="See /ready and the service's log."
            if readiness.stage == "failed"
            else f"Try again in {retry_after_s} s.",
            retry_after_s=retry_after_s,
        )

    def _crashed(self) -> ServiceError:
        return ServiceError(
            502,
            "task_crashed",
            f'The service "{self._component}" ended while it worked on this run.',
            hint="It is started again; its log says why it ended.",
        )

    def _garbled(self) -> ServiceError:
        return ServiceError(
            502,
            "invalid_task_answer",
            f'The service "{self._component}" gave an answer that cannot be read.',
            hint="Its log may say more.",
        )


async def _read_end(response: aiohttp.ClientResponse) -> None:
    """Read the end of a body that holds nothing more, so that its connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_LAST_BYTES_S):
            await response.read()


def _nothing_was_read(error: Exception) -> bool:
    """Whether the connection was closed before the task read the request: then sending it again repeats nothing.

    Writing to a closed socket fails with EPIPE, and a socket closed with unread bytes answers ECONNRESET; a process
    that dies later, having read the request, ends the connection cleanly.
    """
    if isinstance(error, aiohttp.ClientConnectionResetError):
        return True
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ECONNRESET)


def _readiness(value: Any) -> Readiness | None:
    """The typed form of what a task or the supervisor wrote; None for anything else."""
    if not isinstance(value, dict) or value.get("stage") not in ("absent", "downloading", "loading", "ready", "failed"):
        return None
    return Readiness(value["stage"], value.get("progress"), value.get("seconds_left"), value.get("message"))
