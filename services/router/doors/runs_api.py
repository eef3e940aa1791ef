"""The door of the runs: start one, read it, cancel it, and learn which workflows there are."""

import re
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.errors import ServiceError
from services.router.core import Core
from services.router.doors.answers import failed_response, json_response, large_response
from services.router.doors.body import read_body
from services.router.doors.sse import Channel, last_event
from services.router.doors.waiting import RunStream, cancelled_when_gone, client_of, failed_early
from services.router.messages import Run, RunRequest, RunStatus, parse_run_request

_CANCEL_WAIT_S = 1.0
_LISTED = 100
_MOST_LISTED = 1000
_TASK_ID = re.compile(r"[0-9A-Z]{26}")
_AFTER_ALL = "~"
"""Sorts behind every id."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class RunsApi:
    """The endpoints under the base path that start and show runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        base = self._core.base_path
        return [
            Route(f"{base}/workflows/runs", self.create_run, methods=["POST"]),
            Route(f"{base}/workflows", self.list_workflows),
            Route(f"{base}/workflows/{{workflow_id}}/schema", self.show_schema),
            Route(f"{base}/tasks", self.list_tasks),
            Route(f"{base}/tasks/{{task_id}}", self.show_task),
            Route(f"{base}/tasks/{{task_id}}/cancel", self.cancel_task, methods=["POST"]),
        ]

    async def create_run(self, request: Request) -> Response:
        body = await read_body(request.headers, request.receive, self._core.settings.max_body_bytes)
        order = parse_run_request(body)
        order = replace(order, client=client_of(request, order.session_id))
        request_id = request.state.request_id
        key = _idempotency_key(request, order)
        if not order.wait_for_completion:
            run = await self._core.runs.submit(order, request_id, key)
            location = f"{self._core.base_path}/tasks/{run.task_id}"
            return json_response(run.to_json(), 202, {"X-Task-Id": run.task_id, "Location": location})
        if self._wants_stream(order, request.headers.get("accept", "")):
            return await self._stream(order, request)
        live = await self._core.runs.start(order, request_id)
        with cancelled_when_gone(request.receive, live):
            await live.ended()
        return await _answer(live.run, order.output_only)

    def _wants_stream(self, order: RunRequest, accept: str) -> bool:
        if "text/event-stream" in accept.lower():
            return True
        return order.output_only and self._core.graph.workflow(order.workflow_id).streaming

    async def _stream(self, order: RunRequest, request: Request) -> Response:
        channel = Channel()
        live = await self._core.runs.start(order, request.state.request_id, channel.put, channel.end)
        if await failed_early(request.receive, channel, live):
            return failed_response(live.run)
        return RunStream(channel, live, last_event)

    async def list_workflows(self, request: Request) -> Response:
        schemas = [workflow.schema for workflow in self._core.graph.workflows.values() if not workflow.private]
        if _flag(request, "include_schema"):
            return json_response(schemas)
        short = ("workflow_id", "title", "description")
        return json_response([{key: schema[key] for key in short} for schema in schemas])

    async def show_schema(self, request: Request) -> Response:
        return json_response(self._core.graph.workflow(request.path_params["workflow_id"]).schema)

    async def list_tasks(self, request: Request) -> Response:
        """The newest first; `?limit=` many, `?before=` the last id of the page before."""
        limit = _limit(request.query_params.get("limit"))
        runs = await self._core.runs.recent(limit, _before(request.query_params.get("before")))
        return json_response([run.summary() for run in runs])

    async def show_task(self, request: Request) -> Response:
        run = await self._find(request)
        if not _flag(request, "output_only"):
            return await large_response(run.to_json(), {})
        return await _answer(run, output_only=True) if run.status.finished else json_response(run.summary(), 202)

    async def cancel_task(self, request: Request) -> Response:
        run = await self._find(request)
        ended = await self._core.runs.cancel(run, _CANCEL_WAIT_S)
        if ended is None:
            run = await self._find(request)
            raise ServiceError(409, "already_finished", f"The run has ended: it is {run.status}.")
        return json_response(ended.summary())

    async def _find(self, request: Request) -> Run:
        task_id = request.path_params["task_id"]
        run = await self._core.runs.find(task_id) if _TASK_ID.fullmatch(task_id) else None
        if run is None:
            raise ServiceError(
                404,
                "unknown_task",
                f'There is no run "{task_id[:80]}".',
                hint="It may have been too long ago; /tasks lists what is kept.",
            )
        return run


def _idempotency_key(request: Request, order: RunRequest) -> str | None:
    """Raises ServiceError 422 for a key that cannot be used, or where the run would not be kept."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if order.wait_for_completion:
        raise ServiceError(
            422,
            "idempotency_key_sync",
            "Idempotency-Key needs a run that is kept.",
            hint='Send "wait_for_completion": false and read the run at /tasks/{task_id}, or leave the header out.',
            field="Idempotency-Key",
        )
    if not _KEY.fullmatch(key):
        raise ServiceError(
            422,
            "invalid_idempotency_key",
            "Idempotency-Key must be 1 to 255 visible ASCII characters.",
            hint="A UUID is a good key.",
            field="Idempotency-Key",
        )
    return key


def _limit(text: str | None) -> int:
    if text is None:
        return _LISTED
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= _MOST_LISTED):
        raise ServiceError(
            422, "invalid_limit", f'"limit" must be a whole number from 1 to {_MOST_LISTED}.', field="limit"
        )
    return int(text)


def _before(text: str | None) -> str:
    if text is None:
        return _AFTER_ALL
    if not _TASK_ID.fullmatch(text):
        raise ServiceError(422, "invalid_before", '"before" must be the id of a task.', field="before")
    return text


async def _answer(run: Run, output_only: bool) -> Response:
    """The answer of a run that has ended."""
    if run.status is not RunStatus.COMPLETED:
        return failed_response(run)
    return await large_response(run.output if output_only else run.to_json(), {"X-Task-Id": run.task_id})


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1")
