"""The life of runs: accepted, carried out in a task of their own, cancelled, drained."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.errors import ServiceError
from services.router.engine import Engine, OnText
from services.router.graph import Workflow
from services.router.limits import Gate
from services.router.messages import Run, RunRequest, RunStatus, new_task_id
from services.router.metrics import Metrics
from services.router.store import RunStore

log = logging.getLogger(__name__)

_DRAIN_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run with the asyncio task that carries it out; the task never raises."""

    run: Run
    task: asyncio.Task[None]

    def cancel(self) -> None:
        """End the run soon; without effect on one that has ended."""
        if not self.run.status.finished and self.run.status is not RunStatus.CANCELLING:
            self.run.status = RunStatus.CANCELLING
            self.task.cancel()

    async def ended(self) -> None:
        """Wait for the end, without passing on a cancellation of the waiting one."""
        await asyncio.wait([self.task])


class Runs:
    """All runs of this process. run_timeout_s: how long one may take, its waiting included; None: any time."""

    def __init__(
        self, engine: Engine, store: RunStore, metrics: Metrics, gate: Gate, run_timeout_s: float | None
    ) -> None:
        self.store = store
        self.draining = False
        self._engine = engine
        self._metrics = metrics
        self._gate = gate
        self._run_timeout_s = run_timeout_s
        self._live: dict[str, LiveRun] = {}

    async def start(
        self,
        request: RunRequest,
        request_id: str,
        on_text: OnText | None = None,
        on_end: Callable[[], None] | None = None,
        workflow: Workflow | None = None,
    ) -> LiveRun:
        """Begin a run; on_end is called when it has ended. Raises ServiceError when it cannot be accepted.

        workflow: a door's own, instead of the one of the file that the request names.
        """
        if self.draining:
            raise ServiceError(
                503,
                "shutting_down",
                "The router is shutting down and takes no new runs.",
                hint="Try again when it is up again.",
                retry_after_s=_DRAIN_RETRY_S,
            )
        warnings: list[dict[str, Any]] = []
        if workflow is None:
            workflow, warnings = self._engine.check(request)
        self._gate.check()
        run = Run(
            new_task_id(),
            workflow.id,
            request_id,
            kept=not request.wait_for_completion,
            session_id=request.session_id,
            metadata=request.metadata,
            warnings=warnings,
        )
        await self.store.add(run)
        live = LiveRun(run, asyncio.create_task(self._carry_out(workflow, request, run, on_text)))
        self._live[run.task_id] = live
        live.task.add_done_callback(lambda _: self._live.pop(run.task_id))
        if on_end is not None:
            live.task.add_done_callback(lambda _: on_end())
        await asyncio.sleep(0)  # a task that is cancelled before its first step would not reach its own `except`
        return live

    def live(self, task_id: str) -> LiveRun | None:
        """The run of this id while it runs."""
        return self._live.get(task_id)

    async def drain(self, timeout_s: float) -> None:
        """Take no new runs, wait for the accepted ones, and cancel what still runs after `timeout_s`."""
        self.draining = True
        if self._live:
            await asyncio.wait([live.task for live in self._live.values()], timeout=timeout_s)
        remaining = list(self._live.values())
        for live in remaining:
            live.cancel()
        for live in remaining:
            await live.ended()

    async def _carry_out(self, workflow: Workflow, request: RunRequest, run: Run, on_text: OnText | None) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._run_timeout_s) as deadline, self._gate.turn():
                run.status = RunStatus.PROCESSING
                outcome = await self._engine.execute(workflow, request, run, on_text)
            run.output = outcome.output
            run.usage = outcome.usage
            run.warnings += outcome.warnings
            run.finish_reasons = outcome.finish_reasons
            run.status = RunStatus.COMPLETED
        except asyncio.CancelledError:
            run.fail(ServiceError(409, "cancelled", "The run was cancelled."))
            run.status = RunStatus.CANCELLED
        except ServiceError as error:
            run.fail(error)
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                run.fail(self._too_late())
            else:
                log.exception("run %s (request %s) failed inside the router", run.task_id, run.request_id)
                run.fail(ServiceError(500, "internal", "Something failed inside the router.", hint="See its log."))
        await self.store.finished(run)
        self._metrics.ended(run, asyncio.get_running_loop().time() - began)

    def _too_late(self) -> ServiceError:
        return ServiceError(
            504,
            "deadline_exceeded",
            f"The run did not end within {self._run_timeout_s:g} s.",
            hint="Ask for a shorter output, or raise `run_timeout` in the file.",
        )
