"""The client of the runs API, shared by the page and the command line; httpx is loaded when a client is made."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, Unpack, cast
from urllib.parse import quote

from ui.sse import EventTooLongError, read_events

if TYPE_CHECKING:
    import httpx

JsonObject = dict[str, Any]

CONNECT_TIMEOUT_S = 5
QUESTION_TIMEOUT_S = 10
"""For everything that waits for no model."""
STREAM_SILENCE_S = 45
"""A stream carries a comment every 10 s; one that is silent for longer is dead."""


class ApiError(Exception):
    """What went wrong, as a sentence to show as it is.

    status: the HTTP status; None when there was none (no connection, or a run that failed in mid-stream).
    code: the API's stable code, or one of ours: `unreachable`, `timeout`, `interrupted`, `bad_answer`.
    """

    def __init__(
        self,
        status: int | None,
        code: str,
        message: str,
        hint: str | None = None,
        field: str | None = None,  # the input it is about
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.field = field


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text that came since the last one. `path` says where it belongs in the output; None: the output is one text."""

    text: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a stream: the whole output, equal to that of the same run without a stream."""

    output: Any
    usage: JsonObject = field(default_factory=dict)
    warnings: list[JsonObject] = field(default_factory=list)
    task_id: str | None = None


StreamEvent = Chunk | Finished


class RunOptions(TypedDict, total=False):
    """What a run may be given beside its input."""

    output_only: bool
    """Answer with the output alone."""
    session_id: str | None
    history: Sequence[JsonObject]
    """Earlier turns of a chat, `{role, content}`, oldest first."""
    seed: int | str | None
    """For the actions that name none: a whole number, or `random`."""


class ApiClient:
    """One connection pool to a router; use it as an async context manager.

    base_url: with the base path, such as http://127.0.0.1:8080/api.
    Every method raises ApiError and nothing else of the network's.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        import httpx

        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=httpx.Timeout(QUESTION_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None),
            verify=base_url.startswith("https:"),  # to load certificates takes as long as all else here
            trust_env=False,  # a proxy for the outside world must not see what is asked of the router
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; runs that still stream end with it."""
        await self._http.aclose()

    async def workflows(self) -> list[JsonObject]:
        """The public workflows with their schemas, in the file's order."""
        answer = await self._ask("GET", "/workflows", params={"include_schema": "true"})
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise _bad_answer()
        return answer

    async def ready(self) -> JsonObject:
        """`{status, components: {id: {stage, progress, seconds_left}}}`, also while something is not ready."""
        answer = await self._ask("GET", "/ready", accept=(200, 503))
        if not isinstance(answer, dict) or "components" not in answer:
            raise _failure(None, answer)
        return answer

    async def run(
        self,
        workflow_id: str | None,
        input: Mapping[str, Any],  # noqa: A002 - the API's own word
        **options: Unpack[RunOptions],
    ) -> Any:
        """Run to the end, however long it takes, and return the answer, or only its output.

        workflow_id: None takes the file's only or default one.
        """
        body = _run_body(workflow_id, input, options)
        return await self._ask("POST", "/workflows/runs", body=body, wait=True)

    async def stream(
        self,
        workflow_id: str | None,
        input: Mapping[str, Any],  # noqa: A002 - the API's own word
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[StreamEvent, None]:
        """Run and give the output as it comes: any number of chunks, then one Finished.

        Closing the iterator before its end (`contextlib.aclosing`) closes the connection, which cancels the run.
        """
        body = _run_body(workflow_id, input, options)
        async with self._open("POST", "/workflows/runs", body=body, accept="text/event-stream") as response:
            if not _content_type(response).startswith("text/event-stream"):
                await response.aread()
                _raise_answer(response)
            task_id = response.headers.get("X-Task-Id")
            async for event in read_events(response.aiter_bytes()):
                match event.name:
                    case "done":
                        yield _finished(event.data, task_id)
                        return
                    case "error":
                        raise _failure(None, _parse(event.data))
                    case _:
                        yield _chunk(event.data)
            raise ApiError(None, "interrupted", *_INTERRUPTED)

    async def cancel(self, task_id: str) -> None:
        """Cancel a run; raises ApiError 404 for an unknown one and 409 for one that has ended."""
        await self._ask("POST", f"/tasks/{quote(task_id, safe='')}/cancel")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        wait: bool = False,
        accept: Sequence[int] = (200, 202),
    ) -> Any:
        async with self._open(method, path, params=params, body=body, wait=wait) as response:
            await response.aread()
            if response.status_code not in accept:
                _raise_answer(response)
            return _parse(response.text)

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        wait: bool = False,
        accept: str = "application/json",
    ) -> AsyncIterator["httpx.Response"]:
        import httpx

        silence_s = STREAM_SILENCE_S if accept == "text/event-stream" else None if wait else QUESTION_TIMEOUT_S
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._http.stream(
                method,
                path,
                params=params,
                # escaped, so that even half a surrogate pair reaches the router, which refuses it by name
                content=None if body is None else json.dumps(body).encode("ascii"),
                headers=headers,
                timeout=httpx.Timeout(QUESTION_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=silence_s),
            ) as response:
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise ApiError(
                None,
                "unreachable",
                f"The router at {self._http.base_url.netloc.decode()} cannot be reached.",
                "Is `model-compose up` running? It may still be starting.",
            ) from None
        except httpx.TimeoutException:
            raise ApiError(
                None,
                "timeout",
                "The router did not answer in time.",
                "Look at `model-compose ps` and `model-compose logs router`.",
            ) from None
        except EventTooLongError:
            raise _bad_answer() from None
        except (httpx.HTTPError, httpx.StreamError):
            raise ApiError(None, "interrupted", *_INTERRUPTED) from None


_INTERRUPTED = ("The connection to the router broke off.", "Try again; `model-compose logs router` may say why.")


def _run_body(workflow_id: str | None, given: Mapping[str, Any], options: RunOptions) -> JsonObject:
    """Only what is set, so that the router's own defaults hold."""
    body: JsonObject = {"workflow_id": workflow_id, "input": dict(given), **options}
    return {key: value for key, value in body.items() if value is not None and value is not False and value != []}


def _content_type(response: "httpx.Response") -> str:
    return cast(str, response.headers.get("Content-Type", ""))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_answer() from None


def _chunk(data: str) -> Chunk:
    """An output of several parts sends `{"path", "delta"}`; an output of one text sends that text itself."""
    if data.startswith("{"):
        try:
            parts = json.loads(data)
        except (ValueError, RecursionError):
            parts = None
        match parts:
            case {"path": str(path), "delta": str(delta), **others} if not others:
                return Chunk(delta, path)
    return Chunk(data)


def _finished(data: str, task_id: str | None) -> Finished:
    match _parse(data):
        case dict(answer):
            return Finished(
                answer.get("output"),
                answer.get("usage") or {},
                answer.get("warnings") or [],
                answer.get("task_id") or task_id,
            )
    raise _bad_answer()


def _raise_answer(response: "httpx.Response") -> NoReturn:
    """The API's own error when the answer holds one, else ours."""
    try:
        answer = json.loads(response.text)
    except (ValueError, RecursionError):
        answer = None
    raise _failure(response.status_code, answer)


def _failure(status: int | None, answer: Any) -> ApiError:
    match answer:
        case {"error": {"code": str(code), "message": str(message)} as error}:
            return ApiError(status, code, message, error.get("hint"), error.get("field"))
    return _bad_answer(status)


def _bad_answer(status: int | None = None) -> ApiError:
    with_status = f" (status {status})" if status is not None else ""
    return ApiError(
        status,
        "bad_answer",
        f"What answers at the router's address does not speak the runs API{with_status}.",
        "Does another program use this port? `model-compose ps` shows what runs here.",
    )
