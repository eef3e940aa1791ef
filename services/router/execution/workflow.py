"""Runs the jobs of one workflow: starts each when it may, keeps what they give, and makes the output of it."""

import asyncio
import heapq
from typing import Any

from services.errors import ServiceError
from services.router.execution.context import RunContext
from services.router.execution.fields import render_output
from services.router.execution.pieces import end
from services.router.execution.scheduler import Schedule, Start
from services.router.execution.sending import OnText
from services.router.execution.tally import Tally
from services.router.execution.visit import Settled, Visit
from services.router.expression import MISSING
from services.router.graph import CallWork, Workflow
from services.router.journal import JobKey

_WHOLE = -1
"""The part of a journal's key that means the job as a whole."""


async def run_workflow(
    context: RunContext, workflow: Workflow, given: Any, send: OnText | None, place: str, tally: Tally
) -> Any:
    """The workflow's output; see RunWorkflow. Raises ServiceError. Cancelling it cancels what its tasks compute."""
    return await _Execution(context, workflow, given, send, place, tally).execute()


class _Execution:
    """One run of one workflow.

    A run that goes on after a restart first settles what its journal holds, in the order of then: what the jobs see of
    each other, and what routings take back, is the same again whatever the order was.
    """

    def __init__(
        self, context: RunContext, workflow: Workflow, given: Any, send: OnText | None, place: str, tally: Tally
    ) -> None:
        self._context = context
        self._workflow = workflow
        self._given = given
        self._send = send
        self._place = place
        self._tally = tally
        self._outputs: dict[str, Any] = {}
        self._errors: dict[str, Any] = {}
        self._settled = 0
        self._running: dict[asyncio.Task[Settled], Start] = {}

    async def execute(self) -> Any:
        jobs = self._workflow.jobs
        if len(jobs) == 1 and not jobs[0].targets:
            await self._run_only(Start(jobs[0], 1, ()))
        else:
            try:
                await self._run_all(Schedule(jobs))
            finally:
                await end(self._running)
        output = self._default_output()
        if self._workflow.output is None:
            return output
        return render_output(self._workflow.output, self._scope(output=output))

    async def _run_only(self, start: Start) -> None:
        """Nothing needs to be decided for a workflow of one job, and most are."""
        record = self._find(start)
        if record is None:
            self._note(start, settled := await self._visit(start).execute())
        else:
            _, _, settled = record
        self._keep(start.job.id, settled)

    async def _run_all(self, schedule: Schedule) -> None:
        recorded: list[tuple[int, Start, Settled]] = []
        new: list[Start] = []
        while True:
            for start in schedule.start():
                if (record := self._find(start)) is None:
                    new.append(start)
                else:
                    heapq.heappush(recorded, record)
            if recorded:
                _, start, settled = heapq.heappop(recorded)
                self._settle(schedule, start, settled)
                continue
            new = [start for start in new if schedule.runs(start.job.id, start.visit)]
            if not new and not self._running:
                return
            if len(new) == 1 and not self._running:
                start = new.pop()
                settled = await self._visited(start)
                self._note(start, settled)
                self._settle(schedule, start, settled)
                continue
            self._running |= {asyncio.create_task(self._visited(start)): start for start in new}
            new = []
            await self._finish_some(schedule)

    async def _visited(self, start: Start) -> Settled:
        """Raises ServiceError that names the job, for there are several."""
        try:
            return await self._visit(start).execute()
        except ServiceError as error:
            error.message = f'Job "{start.job.id}": {error.message}'
            raise

    async def _finish_some(self, schedule: Schedule) -> None:
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._running if task.done()]:
            start = self._running.pop(task)
            if schedule.runs(start.job.id, start.visit):
                self._note(start, task.result())
                self._settle(schedule, start, task.result())
            elif not task.cancelled():
                task.exception()  # nobody wants to know how a visit that was taken back has ended

    def _note(self, start: Start, settled: Settled) -> None:
        if self._context.journal is not None:
            self._context.journal.note(self._key(start), {"order": self._settled, **settled.to_json()})

    def _find(self, start: Start) -> tuple[int, Start, Settled] | None:
        if self._context.journal is None:
            return None
        record = self._context.journal.find(self._key(start))
        return None if record is None else (record["order"], start, Settled.from_json(record))

    def _key(self, start: Start) -> JobKey:
        return JobKey(self._place + start.job.id, _WHOLE, start.visit)

    def _settle(self, schedule: Schedule, start: Start, settled: Settled) -> None:
        job_id = start.job.id
        self._keep(job_id, settled)
        taken_back = schedule.settle(job_id, start.visit, ran=settled.ran, target=settled.target)
        for name in taken_back:
            self._outputs.pop(name, None)
        if taken_back:
            for task, running in self._running.items():
                if not schedule.runs(running.job.id, running.visit):
                    task.cancel()

    def _keep(self, job_id: str, settled: Settled) -> None:
        self._settled += 1
        self._tally += settled.tally
        if settled.output is not MISSING:
            self._outputs[job_id] = settled.output
        if settled.error is None:
            self._errors.pop(job_id, None)
        else:
            self._errors[job_id] = settled.error

    def _visit(self, start: Start) -> Visit:
        job = start.job
        scope = self._scope()
        error = next((self._errors[name] for name in start.routed_by if name in self._errors), None)
        if error is not None:
            scope["error"] = error
        asked_once = not self._place and isinstance(job.work, CallWork)
        return Visit(self._context, job, start.visit, scope, self._place + job.id, self._send, asked_once)

    def _default_output(self) -> Any:
        """The outputs of the terminal jobs that gave one: merged when all are maps, else the last one."""
        outputs = [self._outputs[job] for job in self._workflow.terminal if job in self._outputs]
        if outputs and all(isinstance(output, dict) for output in outputs):
            return {key: value for output in outputs for key, value in output.items()}
        return outputs[-1] if outputs else None

    def _scope(self, **more: Any) -> dict[str, Any]:
        jobs = {job: {"output": output} for job, output in self._outputs.items()}
        return {**self._context.values, "input": self._given, "jobs": jobs, **more}
