"""The router's side of services.wire: one connection a request, closed to cancel, never parsed twice."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from services.errors import ServiceError
from services.router.clients.link import Lines, Link, LinkError, Links
from services.router.values import loads_finite
from services.router.watching import tracing
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
    encode,
    parse_frame,
    parse_readiness,
)
from services.writing import LARGE_BYTES

OnDelta = Callable[[Delta], Awaitable[None]]

TASK_CRASHED = "task_crashed"
"""The code of the error of a service that ended over a request."""

_PROBE_TIMEOUT_S = 1.0
_DOUBT_AFTER_S = 2.0
"""How long a request may be without an answer before the task is asked for a sign of life, again and again."""
_LIFE_TIMEOUT_S = 5.0
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


class NotReady(ServiceError):  # noqa: N818  # a state that passes
    """503 `not_ready`. lasting: the service has failed for good; otherwise waiting helps. absent: nobody answers, and
    nobody says why. sent: the request went out before, and may be what silenced the service."""

    def __init__(
        self, message: str, *, hint: str, retry_after_s: int, lasting: bool, absent: bool = False, sent: bool = False
    ) -> None:
        super().__init__(503, "not_ready", message, hint=hint, retry_after_s=retry_after_s)
        self.lasting = lasting
        self.absent = absent
        self.sent = sent


class TaskClient:
    """Talks to one task service at `unix:/path` or `http://host:port`.

    stages_path: where the supervisor says how far a task is that does not answer yet.
    """

    def __init__(self, component: str, endpoint: str, stages_path: str | None = None) -> None:
        self._component = component
        self._stages_path = Path(stages_path) if stages_path is not None else None
        self._ready = False
        self._unanswered: set[Link] = set()
        self._doubt: asyncio.Task[None] | None = None
        self._links = Links(endpoint)

    async def close(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
        self._links.close()

    async def readiness(self) -> Readiness:
        """What the task says of itself, else what the supervisor says of it, else `absent`."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                status, body = await self._get(READY_PATH)
            if status == 200:
                self._ready = True
                return Readiness("ready")
            readiness = parse_readiness(json.loads(body))
            if readiness is not None:
                return readiness
        except (LinkError, OSError, ValueError):
            pass  # TimeoutError is an OSError; whoever does not answer is looked up below
        self._ready = False
        return self._stage()

    def _stage(self) -> Readiness:
        if self._stages_path is not None:
            try:
                readiness = parse_readiness(json.loads(self._stages_path.read_bytes()).get(self._component))
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
        body = encode(request.to_json())
        link = await self._open(body)
        try:
            if link.status != 200:
                await self._refused(link)
            return await self._done(link, on_delta)
        except LinkError as error:
            self._ready = False
            raise self._crashed() from error
        finally:
            self._links.give_back(link)  # what is not read to its end is cancelled by this

    async def _done(self, link: Link, on_delta: OnDelta | None) -> Done:
        lines = Lines()
        while chunk := await link.read():
            for line in lines.of(chunk):
                frame = self._frame(line) if len(line) < LARGE_BYTES else await asyncio.to_thread(self._frame, line)
                match frame:
                    case Delta():
                        if on_delta is not None:
                            await on_delta(frame)
                    case Done():
                        await _read_end(link)
                        return frame
                    case Failed():
                        raise self._error(frame.error)
            if lines.unfinished_bytes > _MAX_LINE_BYTES:
                raise self._garbled()
        raise LinkError(unread=False)

    async def _open(self, body: bytes) -> Link:
        """Ask for an answer; its head has come. Raises ServiceError."""
        try:
            return await self._ask(self._links.request("POST", PREDICT_PATH, body, tracing.headers()), doubtful=True)
        except OSError:
            raise self._not_ready(await self.readiness()) from None
        except LinkError as error:
            self._ready = False
            raise self._crashed() from error

    async def _get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a small answer; raises LinkError or OSError."""
        link = await self._ask(self._links.request("GET", path))
        try:
            body = b""
            while chunk := await link.read():
                body += chunk
            return link.status, body
        finally:
            self._links.give_back(link)

    async def _ask(self, request: bytes, *, doubtful: bool = False) -> Link:
        """Send the request, a second time when the task had closed the connection without reading it.

        doubtful: give up when the task gives no sign of life; connecting is none, because while a task starts again,
        its socket takes requests.
        """
        for again in (True, False):
            link = await self._links.open(kept=again)
            if doubtful:
                self._unanswered.add(link)
                if self._doubt is None or self._doubt.done():
                    self._doubt = asyncio.create_task(self._doubt_unanswered())
            try:
                await link.ask(request)
                return link
            except LinkError as error:
                if not (again and error.unread):
                    raise
            finally:
                self._unanswered.discard(link)
        raise AssertionError("unreachable")

    async def _doubt_unanswered(self) -> None:
        """End the patience with unanswered requests when the task gives no sign of life."""
        while self._unanswered:
            await asyncio.sleep(_DOUBT_AFTER_S)
            if self._unanswered and not await self._lives():
                self._ready = False
                for link in self._unanswered:
                    link.fail(self._not_ready(self._stage(), sent=True))

    async def _lives(self) -> bool:
        try:
            async with asyncio.timeout(_LIFE_TIMEOUT_S):
                await self._get(LIVE_PATH)
        except (LinkError, OSError):
            return False
        return True

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

    async def _refused(self, link: Link) -> NoReturn:
        body = b""
        while chunk := await link.read():
            body += chunk
        try:
            error = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            raise self._garbled() from None
        refusal = self._error(error)
        self._ready = refusal.code != "not_ready"  # a task that is full is ready, and to ask it again is more load
        if not self._ready:
            hint, retry_after_s = refusal.hint or "Try again later.", refusal.retry_after_s or 1
            raise NotReady(refusal.message, hint=hint, retry_after_s=retry_after_s, lasting=False)
        raise refusal

    def _error(self, wire: dict[str, Any]) -> ServiceError:
        try:
            error = ServiceError.from_wire(wire)
        except (KeyError, ValueError, TypeError):
            return self._garbled()
        if error.status in (429, 503) and error.retry_after_s is None:
            error.retry_after_s = 1
        return error if 400 <= error.status < 600 else self._garbled()

    def _not_ready(self, readiness: Readiness, *, sent: bool = False) -> NotReady:
        retry_after_s = min(max(math.ceil(readiness.seconds_left or 2), 1), _LONGEST_RETRY_S)
        progress = f" ({readiness.progress:.0%})" if readiness.progress is not None else ""
        stage = "not answering" if readiness.stage in ("absent", "ready") else f"{readiness.stage}{progress}"
        stopped = readiness.stage == "absent" and readiness.message is not None  # the supervisor says that it was
        reason = ": ".join(filter(None, ["" if stopped else stage, readiness.message]))
        hint = f"Try again in {retry_after_s} s."
        if stopped:
            hint = f"`model-compose start {self._component}` starts it again."
        elif readiness.stage == "failed":
            hint = "See /ready and the service's log."
        return NotReady(
            f'The service "{self._component}" is not ready: {reason}.',
            hint=hint,
            retry_after_s=retry_after_s,
            lasting=readiness.stage == "failed",
            absent=readiness.stage in ("absent", "ready") and readiness.message is None,  # another one may be ready
            sent=sent,
        )

    def _crashed(self) -> ServiceError:
        return ServiceError(
            502,
            TASK_CRASHED,
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


async def _read_end(link: Link) -> None:
    """Read the end of a body that holds nothing more, so that its connection can be used again."""
    if link.complete:
        return
    with suppress(TimeoutError, LinkError):
        async with asyncio.timeout(_LAST_BYTES_S):
            while await link.read():
                pass
