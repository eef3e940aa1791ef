"""All runs of this router: those whose clients wait for them live in memory, the others in the store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from services.router.execution.engine import Engine
from services.router.execution.sending import OnText
from services.router.graph import Workflow
from services.router.limits import Gate
from services.router.messages import Run, RunRequest, cancelled, new_task_id, shutting_down
from services.router.runs.carrying import Carrier, LiveRun
from services.router.runs.durable import DurableRuns, store_unavailable
from services.router.store.database import StoreUnavailable
from services.router.store.memory import LastRuns
from services.router.store.run_store import RunStore

_COMMIT_S = 1.0
"""How long the reader of a run that has just ended waits until its end is kept."""


class Runs:
    """Starts, finds, cancels and drains runs. durable: the asynchronous ones."""

    def __init__(self, engine: Engine, gate: Gate, carrier: Carrier, durable: DurableRuns, store: RunStore) -> None:
        self.leaving = self.draining = False
        """Whether this router is about to end, and whether it takes no runs any more."""
        self._engine = engine
        self._gate = gate
        self._carrier = carrier
        self.durable = durable
        self._store = store
        self._live: dict[str, LiveRun] = {}
        self._last = LastRuns()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, asynchronous runs are claimed and carried out."""
        await self.durable.start()
        try:
            yield
        finally:
            await self.durable.stop()

    async def start(
        self,
        request: RunRequest,
        request_id: str,
        on_text: OnText | None = None,
        on_end: Callable[[], None] | None = None,
        workflow: Workflow | None = None,
    ) -> LiveRun:
        """Begin a run in memory; on_end is called when it has ended. Raises ServiceError when it cannot be accepted.

        workflow: a door's own, instead of the one of the file that the request names.
        """
        self._refuse_when_draining()
        warnings: list[dict[str, Any]] = []
        if workflow is None:
            workflow, warnings = self._engine.check(request)
        self._gate.check(request.client)
        run = Run(
            new_task_id(),
            workflow.id,
            request_id,
            kept=False,
            session_id=request.session_id,
            metadata=request.metadata,
            warnings=warnings,
        )
        live = LiveRun(run, asyncio.create_task(self._carry_out(workflow, request, run, on_text)))
        self._live[run.task_id] = live
        live.task.add_done_callback(lambda _: self._live.pop(run.task_id))
        if on_end is not None:
            live.task.add_done_callback(lambda _: on_end())
        await asyncio.sleep(0)  # a task that is cancelled before its first step would not reach its own `except`
        return live

    async def submit(self, request: RunRequest, request_id: str, key: str | None = None) -> Run:
        """Accept an asynchronous run, or find the one that has this idempotency key; see DurableRuns.submit."""
        self._refuse_when_draining()
        return await self.durable.submit(request, request_id, key)

    def live(self, task_id: str) -> LiveRun | None:
        """The run of this id while this router carries it out."""
        return self._live.get(task_id) or self.durable.live(task_id)

    async def find(self, task_id: str) -> Run | None:
        """A run by its id, wherever it is; an end is told once it is kept. Raises ServiceError 503."""
        live = self.live(task_id)
        if live is not None and live.run.kept and live.run.status.finished:
            await asyncio.wait([live.task], timeout=_COMMIT_S)
        if live is not None:
            return live.run
        try:
            return self._last.get(task_id) or await self._store.get(task_id)
        except StoreUnavailable as error:
            raise store_unavailable(error) from error

    async def recent(self, most: int, before: str) -> list[Run]:
        """The newest runs with ids before this one, newest first; of those in the store, without their outputs."""
        try:
            runs = {run.task_id: run for run in await self._store.recent(most, before)}
        except StoreUnavailable as error:
            raise store_unavailable(error) from error
        runs |= {run.task_id: run for run in self._last.all()}
        runs |= {live.run.task_id: live.run for live in [*self._live.values(), *self.durable.all_live()]}
        return [runs[task_id] for task_id in sorted(runs, reverse=True) if task_id < before][:most]

    async def cancel(self, run: Run, timeout_s: float) -> Run | None:
        """End a run, and wait so long for its end; None: it had ended already."""
        if run.status.finished:
            return None
        live = self.live(run.task_id)
        if live is None:
            try:
                asked = await self._store.cancel(run.task_id, cancelled())
            except StoreUnavailable as error:
                raise store_unavailable(error) from error
            live = self.live(run.task_id)  # it may have been claimed in this moment
            if live is None or asked is None:
                return asked
        live.cancel()
        await asyncio.wait([live.task], timeout=timeout_s)
        return live.run

    def leave(self) -> None:
        self.leaving = True

    async def drain(self, timeout_s: float) -> None:
        """Take no new runs and wait for the accepted ones, but not for tasks that are not there.

        What still runs after `timeout_s` is cancelled when its client waits for it, else given back to the store.
        """
        self.leaving = self.draining = True
        self._engine.leave()
        await asyncio.gather(self._drain_waited_for(timeout_s), self.durable.drain(timeout_s))

    async def _drain_waited_for(self, timeout_s: float) -> None:
        if self._live:
            await asyncio.wait([live.task for live in self._live.values()], timeout=timeout_s)
        remaining = list(self._live.values())
        for live in remaining:
            live.cancel()
        for live in remaining:
            await live.ended()

    async def _carry_out(self, workflow: Workflow, request: RunRequest, run: Run, on_text: OnText | None) -> None:
        began_s = asyncio.get_running_loop().time()
        await self._carrier.carry_out(workflow, request, run, on_text)
        self._last.put(run)
        self._carrier.report(run, asyncio.get_running_loop().time() - began_s)

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise shutting_down()
