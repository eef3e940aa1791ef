"""One run on its way from its turn to its end."""

import asyncio
import logging
from dataclasses import dataclass

from services.errors import ServiceError
from services.router.clients.client import NotReady
from services.router.execution.engine import Engine
from services.router.execution.sending import OnText
from services.router.graph import Workflow
from services.router.journal import Journal
from services.router.limits import Gate
from services.router.messages import Run, RunRequest, RunStatus
from services.router.runs.run_log import log_ended
from services.router.watching import tracing
from services.router.watching.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run with the asyncio task that carries it out; the task never raises."""

    run: Run
    task: asyncio.Task[None]

    def cancel(self) -> None:
        """End the run soon; without effect on one that has ended."""
        # Not at once: a task that is cancelled before its first step would not reach its own `except`.
        asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if not self.run.status.finished and self.run.status is not RunStatus.CANCELLING:
            self.run.status = RunStatus.CANCELLING
            self.task.cancel()

    async def ended(self) -> None:
        """Wait for the end, without passing on a cancellation of the waiting one."""
        await asyncio.wait([self.task])


class Carrier:
    """Carries runs out. run_timeout_s: how long one may take from its acceptance; None: any time."""

    def __init__(self, engine: Engine, gate: Gate, metrics: Metrics, run_timeout_s: float | None) -> None:
        self.run_timeout_s = run_timeout_s
        self._engine = engine
        self._gate = gate
        self._metrics = metrics

    async def carry_out(
        self,
        workflow: Workflow,
        request: RunRequest,
        run: Run,
        on_text: OnText | None = None,
        journal: Journal | None = None,
        age_s: float = 0.0,
    ) -> None:
        """Wait for the run's turn, execute it, and write into it how it ended.

        age_s: how long ago the run was accepted. A run with a journal can go on later: it waits however many wait, and
        NotReady and a cancellation that nobody asked for leave it as it is and are raised.
        """
        timeout_s = None if self.run_timeout_s is None else self.run_timeout_s - age_s
        try:
            with tracing.run_span(workflow.id, run.task_id, run.request_id):
                async with (
                    asyncio.timeout(timeout_s) as deadline,
                    self._gate.turn(request.client, patient=journal is not None),
                ):
                    run.status = RunStatus.PROCESSING
                    outcome = await self._engine.execute(workflow, request, run, on_text, journal)
            run.output = outcome.output
            run.usage = outcome.usage
            run.warnings += outcome.warnings
            run.finish_reasons = outcome.finish_reasons
            run.status = RunStatus.COMPLETED
        except asyncio.CancelledError:
            if journal is not None and run.status is not RunStatus.CANCELLING:
                raise
            run.cancel()
        except ServiceError as error:
            if journal is not None and isinstance(error, NotReady) and not error.lasting:
                raise
            run.fail(error)
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                run.fail(self._missed_at(run, deadline.when()) or self.too_late())
            else:
                ids = {"run_id": run.task_id, "request_id": run.request_id}
                log.exception("a run failed inside the router", extra={"fields": ids})
                run.fail(ServiceError(500, "internal", "Something failed inside the router.", hint="See its log."))

    def report(self, run: Run, duration_s: float) -> None:
        """Count a run that has ended."""
        self._metrics.ended(run, duration_s)
        log_ended(run, duration_s)

    def _missed_at(self, run: Run, deadline_s: float | None) -> ServiceError | None:
        """What a run says whose time ended while it waited for a service; a job's own time ends before."""
        if run.missed is None or deadline_s is None or run.missed[0] < deadline_s:
            return None
        return run.missed[1]

    def too_late(self) -> ServiceError:
        return ServiceError(
            504,
            "deadline_exceeded",
            f"The run did not end within {self.run_timeout_s:g} s.",
            hint="Ask for a shorter output, or raise `run_timeout` in the file.",
        )
