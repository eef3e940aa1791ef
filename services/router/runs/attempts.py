"""What becomes of one run that was claimed: finished, given back for later, or left to another router."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from services.errors import ServiceError
from services.router.clients.client import NotReady
from services.router.execution.engine import Engine
from services.router.graph import Workflow
from services.router.messages import Run, RunStatus, cancelled
from services.router.runs.carrying import Carrier
from services.router.runs.stored_journal import StoredJournal
from services.router.store.database import StoreUnavailable
from services.router.store.records import Claim
from services.router.store.run_store import RunStore

T = TypeVar("T")

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""Routers that may be lost over one run."""
_RETRY_S = 1.0


class Attempts:
    """Carries claimed runs out."""

    def __init__(self, store: RunStore, engine: Engine, carrier: Carrier) -> None:
        self._store = store
        self._engine = engine
        self._carrier = carrier

    def run_of(self, claim: Claim) -> Run:
        """What is shown of a run before it has ended."""
        request = claim.request
        workflow = self._engine.graph.workflows.get(claim.workflow_id)
        warnings: Sequence[Mapping[str, Any]] = []
        if workflow is not None:
            with suppress(ServiceError):
                warnings = workflow.inputs.check(request.input)
        return Run(
            claim.task_id,
            claim.workflow_id,
            claim.request_id,
            kept=True,
            session_id=request.session_id,
            metadata=request.metadata,
            warnings=[*map(dict, warnings)],
        )

    async def carry_out(self, claim: Claim, run: Run) -> None:
        """Do it, and keep how it ended; cancelled without anybody asking, it is left to whoever claims it next."""
        began_s = asyncio.get_running_loop().time()
        workflow = self._engine.graph.workflows.get(claim.workflow_id)
        if claim.cancelled:
            run.cancel()
        elif workflow is None or workflow.digest != claim.digest:
            run.fail(_workflow_changed(claim.workflow_id))
        elif self._carrier.run_timeout_s is not None and claim.age_s >= self._carrier.run_timeout_s:
            run.fail(self._carrier.too_late())
        elif claim.attempts > MOST_ATTEMPTS:
            run.fail(_gave_up())
        elif not await self._attempt(workflow, claim, run):
            return
        await self._finish(run)
        took_s = asyncio.get_running_loop().time() - began_s
        self._carrier.report(run, claim.age_s + took_s)

    async def _attempt(self, workflow: Workflow, claim: Claim, run: Run) -> bool:
        """Carry a run out from where it stands; False: it goes on later, or elsewhere."""
        journal = StoredJournal(self._store, claim.task_id)
        try:
            if claim.resumed:
                journal.noted = await _insist(lambda: self._store.noted(claim.task_id))
            await self._carrier.carry_out(workflow, claim.request, run, None, journal, claim.age_s)
        except asyncio.CancelledError:
            if run.status is not RunStatus.CANCELLING:
                await journal.flush()
                return False
            run.cancel()
        except NotReady as error:
            run.status = RunStatus.PENDING
            await journal.flush()
            await self._put_off(run, error.retry_after_s or 1)
            return run.status.finished
        finally:
            journal.close()
        return True

    async def _put_off(self, run: Run, delay_s: float) -> None:
        try:
            await _insist(lambda: self._store.hand_back([run.task_id], delay_s))
        except asyncio.CancelledError:
            if run.status is RunStatus.CANCELLING:
                run.cancel()

    async def _finish(self, run: Run) -> None:
        try:
            ours = await _insist(lambda: self._store.finish(run))
            if not ours and run.status is RunStatus.CANCELLED:  # it waits again, or somebody else has it
                await _insist(lambda: self._store.cancel(run.task_id, cancelled()))
        except Exception:
            log.exception("the result of run %s (request %s) cannot be kept", run.task_id, run.request_id)
            run.output = None
            run.fail(ServiceError(500, "internal", "The result cannot be kept.", hint="See the router's log."))
            await _insist(lambda: self._store.finish(run))


async def _insist(do: Callable[[], Awaitable[T]]) -> T:
    """What the store gives, as soon as it can be used."""
    while True:
        try:
            return await do()
        except StoreUnavailable as error:
            log.warning("the store of runs cannot be used just now: %s", error)
            await asyncio.sleep(_RETRY_S)


def _workflow_changed(workflow_id: str) -> ServiceError:
    return ServiceError(
        500,
        "workflow_changed",
        f'The workflow "{workflow_id}" is not the one any more under which this run was accepted.',
        hint="Start the run again.",
    )


def _gave_up() -> ServiceError:
    return ServiceError(
        500,
        "gave_up_after_crash",
        f"The router ended {MOST_ATTEMPTS} times while it worked on this run.",
        hint="See the router's log of those times.",
    )
