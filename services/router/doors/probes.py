"""The doors for watchers: whether the router lives and takes runs, how far the models are, and the counters."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.router.core import Core
from services.router.doors.answers import json_response
from services.router.watching.metrics import CONTENT_TYPE as METRICS_TYPE

_READY_RETRY_S = 2


def open_paths(base_path: str) -> tuple[str, ...]:
    """What needs no token."""
    return (f"{base_path}/health", f"{base_path}/ready", "/livez", "/readyz")


class Probes:
    """Health, readiness and metrics."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        base = self._core.base_path
        return [
            Route(f"{base}/health", self.health),
            Route(f"{base}/ready", self.ready),
            Route("/livez", self.health),
            Route("/readyz", self.accepts_runs),
            Route("/metrics", self.show_metrics),
        ]

    async def health(self, _: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """How far every component is; 200 when all of them are ready."""
        found = await asyncio.gather(*(client.readiness() for client in self._core.clients.values()))
        stages = {readiness.stage for readiness in found}
        status = "ready" if stages <= {"ready"} else "failed" if "failed" in stages else "starting"
        components = {name: readiness.to_json() for name, readiness in zip(self._core.clients, found, strict=True)}
        headers = {} if status == "ready" else {"Retry-After": str(_READY_RETRY_S)}
        answer = {"status": status, "components": components}
        return json_response(answer, 200 if status == "ready" else 503, headers)

    async def accepts_runs(self, _: Request) -> Response:
        """Whether this process takes runs; one component that is down must not take the others' workflows away."""
        if self._core.runs.leaving:
            return json_response({"stage": "failed", "message": "shutting down"}, 503, {"Retry-After": "5"})
        return json_response({"stage": "ready"})

    async def show_metrics(self, _: Request) -> Response:
        return Response(self._core.metrics.render(), headers={"Content-Type": METRICS_TYPE})
