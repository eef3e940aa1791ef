"""The router's HTTP interface: routes, and nothing that decides anything."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.errors import ServiceError
from services.process import start
from services.router.answers import error_response, failed_response, json_response
from services.router.body import read_body
from services.router.client import TaskClient
from services.router.engine import Engine
from services.router.graph import Graph, compile_graph
from services.router.limits import Gate
from services.router.messages import Run, RunRequest, RunStatus, parse_run_request
from services.router.metrics import CONTENT_TYPE as METRICS_TYPE
from services.router.metrics import Metrics
from services.router.runs import LiveRun, Runs
from services.router.security import Guard
from services.router.server import serve
from services.router.settings import RouterSettings
from services.router.sse import Channel, send_events
from services.router.store import MemoryStore

_STATUS_KEPT_S = 1.0
"""A streamed run that fails within its first second answers with its own status code instead of an event."""
_CANCEL_WAIT_S = 1.0
_READY_RETRY_S = 2
_CLIENT_GONE = 499


class Router:
    """The endpoints over one graph. `runs` exists while the application runs."""

    def __init__(self, settings: RouterSettings, graph: Graph) -> None:
        self._settings = settings
        self._graph = graph
        self._metrics = Metrics()
        self._gate = Gate(
            "The router", settings.max_concurrent_count, settings.max_queue_length, status=503, code="overloaded"
        )
        self._clients: dict[str, TaskClient] = {}
        self._engine = Engine(graph, self._clients, settings.env)
        self.runs = Runs(
            self._engine, MemoryStore(settings.retention_s), self._metrics, self._gate, settings.run_timeout_s
        )

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for component in self._graph.components.values():
                client = TaskClient(component.id, component.endpoint, self._settings.stages_path)
                stack.push_async_callback(client.close)
                self._clients[component.id] = client
            yield

    def routes(self) -> list[Route]:
        base = self._settings.base_path.rstrip("/")
        return [
            Route(f"{base}/workflows/runs", self.create_run, methods=["POST"]),
            Route(f"{base}/workflows", self.list_workflows),
            Route(f"{base}/workflows/{{workflow_id}}/schema", self.show_schema),
            Route(f"{base}/tasks", self.list_tasks),
            Route(f"{base}/tasks/{{task_id}}", self.show_task),
            Route(f"{base}/tasks/{{task_id}}/cancel", self.cancel_task, methods=["POST"]),
            Route(f"{base}/health", self.health),
            Route(f"{base}/ready", self.ready),
            Route("/livez", self.health),
            Route("/readyz", self.accepts_runs),
            Route("/metrics", self.show_metrics),
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
        body = await read_body(request.headers, request.receive, self._settings.max_body_bytes)
        order = parse_run_request(body)
        request_id = request.state.request_id
        if not order.wait_for_completion:
            live = await self.runs.start(order, request_id)
            location = f"{self._settings.base_path.rstrip('/')}/tasks/{live.run.task_id}"
            return json_response(live.run.to_json(), 202, {"X-Task-Id": live.run.task_id, "Location": location})
        if self._wants_stream(order, request.headers.get("accept", "")):
            return await self._stream(order, request)
        live = await self.runs.start(order, request_id)
        with _cancelled_when_gone(request.receive, live):
            await live.ended()
        return _answer(live.run, order.output_only)

    def _wants_stream(self, order: RunRequest, accept: str) -> bool:
        if "text/event-stream" in accept.lower():
            return True
        return order.output_only and self._graph.workflow(order.workflow_id).streaming

    async def _stream(self, order: RunRequest, request: Request) -> Response:
        channel = Channel()
        live = await self.runs.start(order, request.state.request_id, channel.put, channel.end)
        with _cancelled_when_gone(request.receive, live):
            await channel.wait(_STATUS_KEPT_S)
        if channel.drained and live.run.status is not RunStatus.COMPLETED:
            return failed_response(live.run)
        return _Stream(channel, live)

    async def list_workflows(self, request: Request) -> Response:
        schemas = [workflow.schema for workflow in self._graph.workflows.values() if not workflow.private]
        if _flag(request, "include_schema"):
            return json_response(schemas)
        short = ("workflow_id", "title", "description")
        return json_response([{key: schema[key] for key in short} for schema in schemas])

    async def show_schema(self, request: Request) -> Response:
        return json_response(self._graph.workflow(request.path_params["workflow_id"]).schema)

    async def list_tasks(self, _: Request) -> Response:
        return json_response([run.summary() for run in await self.runs.store.recent()])

    async def show_task(self, request: Request) -> Response:
        run = await self._find(request)
        if not _flag(request, "output_only"):
            return json_response(run.to_json())
        return _answer(run, output_only=True) if run.status.finished else json_response(run.summary(), 202)

    async def cancel_task(self, request: Request) -> Response:
        run = await self._find(request)
        live = self.runs.live(run.task_id)
        if live is None or run.status.finished:
            raise ServiceError(409, "already_finished", f"The run has ended: it is {run.status}.")
        live.cancel()
        await asyncio.wait([live.task], timeout=_CANCEL_WAIT_S)
        return json_response(run.summary())

    async def _find(self, request: Request) -> Run:
        task_id = request.path_params["task_id"]
        run = await self.runs.store.get(task_id)
        if run is None:
            raise ServiceError(
                404,
                "unknown_task",
                f'There is no run "{task_id[:80]}".',
                hint="It may have been too long ago; /tasks lists what is kept.",
            )
        return run

    async def health(self, _: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """How far every component is; 200 when all of them are ready."""
        found = await asyncio.gather(*(client.readiness() for client in self._clients.values()))
        stages = {readiness.stage for readiness in found}
        status = "ready" if stages <= {"ready"} else "failed" if "failed" in stages else "starting"
        components = {name: readiness.to_json() for name, readiness in zip(self._clients, found, strict=True)}
        headers = {} if status == "ready" else {"Retry-After": str(_READY_RETRY_S)}
        answer = {"status": status, "components": components}
        return json_response(answer, 200 if status == "ready" else 503, headers)

    async def accepts_runs(self, _: Request) -> Response:
        """Whether this process takes runs; one component that is down must not take the others' workflows away."""
        if self.runs.draining:
            return json_response({"stage": "failed", "message": "shutting down"}, 503, {"Retry-After": "5"})
        return json_response({"stage": "ready"})

    async def show_metrics(self, _: Request) -> Response:
        page = self._metrics.render({"router": self._gate, **self._engine.gates})
        return Response(page, headers={"Content-Type": METRICS_TYPE})


def create_app(settings: RouterSettings) -> tuple[ASGIApp, Router]:
    """The application and its endpoints; raises GraphError or ExpressionError for settings that do not fit."""
    router = Router(settings, compile_graph(settings))
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ServiceError: _service_error,
        HTTPException: _http_error,
        ClientDisconnect: _client_gone,
        Exception: _internal_error,
    }
    app = Starlette(routes=router.routes(), lifespan=router.lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    base = settings.base_path.rstrip("/")
    guard = Guard(
        app,
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        origins=settings.origins,
        token=settings.auth_token,
        open_paths=(f"{base}/health", f"{base}/ready", "/livez", "/readyz"),
    )
    return guard, router


class _Stream(Response):
    """A run that is under way, as server-sent events."""

    def __init__(self, channel: Channel, live: LiveRun) -> None:
        super().__init__()
        self._channel = channel
        self._live = live

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        with _cancelled_when_gone(receive, self._live):
            try:
                await send_events(send, self._channel, self._live.run)
            finally:
                self._live.cancel()


@contextmanager
def _cancelled_when_gone(receive: Receive, live: LiveRun) -> Iterator[None]:
    """Inside, a client that closes its connection cancels the run."""
    watcher = asyncio.create_task(_watch(receive, live))
    try:
        yield
    finally:
        watcher.cancel()


async def _watch(receive: Receive, live: LiveRun) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    live.cancel()


def _answer(run: Run, output_only: bool) -> Response:
    """The answer of a run that has ended."""
    if run.status is not RunStatus.COMPLETED:
        return failed_response(run)
    return json_response(run.output if output_only else run.to_json(), headers={"X-Task-Id": run.task_id})


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1")


async def _service_error(request: Request, error: ServiceError) -> Response:
    return error_response(error, request.state.request_id)


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        hint = f"Use {allowed}."
        own = ServiceError(405, "method_not_allowed", f"{request.method} is not possible here.", hint=hint)
    else:
        own = ServiceError(
            404, "not_found", "There is nothing at this address.", hint="The runs API starts at the base path."
        )
    response = error_response(own, request.state.request_id)
    response.headers.update(error.headers or {})
    return response


async def _client_gone(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _internal_error(request: Request, _: Exception) -> Response:
    error = ServiceError(500, "internal", "Something failed inside the router.", hint="See its log.")
    return error_response(error, request.state.request_id)


def main() -> None:
    """The process: `SETTINGS (--fd N | --host H --port P) [--parent PID]`; ends well after SIGTERM or SIGINT."""
    arguments = start()
    settings = RouterSettings.model_validate_json(arguments.settings.read_bytes())
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it would tell of every bad byte in a form
    app, router = create_app(settings)
    serve(app, arguments, lambda: router.runs.drain(settings.shutdown_timeout_s))


if __name__ == "__main__":
    main()
