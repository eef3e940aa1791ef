"""The door of the runs: start one, read it, cancel it, and learn which workflows there are."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.errors import ServiceError
from services.router.answers import failed_response, json_response
from services.router.body import read_body
from services.router.core import Core
from services.router.messages import Run, RunRequest, RunStatus, parse_run_request
from services.router.sse import Channel, last_event
from services.router.waiting import RunStream, cancelled_when_gone, failed_early

_CANCEL_WAIT_S = 1.0


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
        if "idempotency-key" in request.headers:
            raise ServiceError(
                422,
                "unsupported_header",
                "Idempotency-Key is not supported yet.",
                hint="Leave it out.",
                field="Idempotency-Key",
            )
        body = await read_body(request.headers, request.receive, self._core.settings.max_body_bytes)
        order = parse_run_request(body)
        request_id = request.state.request_id
        if not order.wait_for_completion:
            live = await self._core.runs.start(order, request_id)
            location = f"{self._core.base_path}/tasks/{live.run.task_id}"
            return json_response(live.run.to_json(), 202, {"X-Task-Id": live.run.task_id, "Location": location})
        if self._wants_stream(order, request.headers.get("accept", "")):
            return await self._stream(order, request)
        live = await self._core.runs.start(order, request_id)
        with cancelled_when_gone(request.receive, live):
            await live.ended()
        return _answer(live.run, order.output_only)

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

    async def list_tasks(self, _: Request) -> Response:
        return json_response([run.summary() for run in await self._core.runs.store.recent()])

    async def show_task(self, request: Request) -> Response:
        run = await self._find(request)
        if not _flag(request, "output_only"):
            return json_response(run.to_json())
        return _answer(run, output_only=True) if run.status.finished else json_response(run.summary(), 202)

    async def cancel_task(self, request: Request) -> Response:
        run = await self._find(request)
        live = self._core.runs.live(run.task_id)
        if live is None or run.status.finished:
            raise ServiceError(409, "already_finished", f"The run has ended: it is {run.status}.")
        live.cancel()
        await asyncio.wait([live.task], timeout=_CANCEL_WAIT_S)
        return json_response(run.summary())

    async def _find(self, request: Request) -> Run:
        task_id = request.path_params["task_id"]
        run = await self._core.runs.store.get(task_id)
        if run is None:
            raise ServiceError(
                404,
                "unknown_task",
                f'There is no run "{task_id[:80]}".',
                hint="It may have been too long ago; /tasks lists what is kept.",
            )
        return run


def _answer(run: Run, output_only: bool) -> Response:
    """The answer of a run that has ended."""
    if run.status is not RunStatus.COMPLETED:
        return failed_response(run)
    return json_response(run.output if output_only else run.to_json(), headers={"X-Task-Id": run.task_id})


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1")
