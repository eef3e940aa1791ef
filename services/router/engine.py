"""Runs a workflow: starts each job when it may, renders what it asks, and maps what comes back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from services.catalog import Field
from services.errors import ServiceError
from services.router.client import TaskCaller
from services.router.expression import ConversionError, Tree, render
from services.router.fields import LONGEST_MESSAGE, choose_seed, coerce, render_fields, render_input, with_history
from services.router.graph import CallWork, Component, Graph, Job, ModelCall, Workflow
from services.router.journal import Journal
from services.router.limits import Gate
from services.router.messages import Run, RunRequest, RunStatus
from services.router.outputs import texts
from services.wire import Delta, Done, FinishReason, TaskRequest

OnText = Callable[[str, str], Awaitable[None]]
"""Awaited with a path in the output and the text that comes next there; the empty path is the output itself."""

_REPEAT_COUNT = Field("repeat_count", "integer", "parallel runs of one job", minimum=1, maximum=1000)
REPEATS_AT_ONCE = 32
"""Of one job, where its component sets no number itself: enough to fill a batch, too few to fill a queue."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gives. usage: summed over its calls; `seed` only when there was one call.

    finish_reasons: of every text that its calls gave, call after call.
    """

    output: Any
    usage: dict[str, int]
    warnings: list[dict[str, Any]]
    finish_reasons: list[FinishReason]


class Engine:
    """Runs workflows of one graph on the tasks behind `clients`, one for each component id.

    env: the values of `${env.NAME}`.
    """

    def __init__(self, graph: Graph, clients: Mapping[str, TaskCaller], env: Mapping[str, str]) -> None:
        self.graph = graph
        self.clients = clients
        self.env = env
        self.gates = {
            component.id: Gate(
                f'The component "{component.id}"',
                component.max_concurrent_count,
                component.max_queue_length,
                status=429,
                code="queue_full",
            )
            for component in graph.components.values()
        }

    def check(self, request: RunRequest) -> tuple[Workflow, list[dict[str, Any]]]:
        """The workflow and first warnings of a run; raises ServiceError when it cannot start."""
        workflow = self.graph.workflow(request.workflow_id)
        if request.history and len(workflow.chat_jobs) != 1:
            raise ServiceError(
                422,
                "history_not_possible",
                f'The workflow "{workflow.id}" needs exactly one chat job for a history; it has '
                f"{len(workflow.chat_jobs) or 'none'}.",
                field="history",
            )
        return workflow, [*workflow.inputs.check(request.input)]

    async def execute(
        self,
        workflow: Workflow,
        request: RunRequest,
        run: Run,
        on_text: OnText | None,
        journal: Journal | None = None,  # noqa: ARG002  # the seam of durable runs
    ) -> Outcome:
        """The whole run; raises ServiceError. Cancelling it cancels what its tasks compute.

        journal: what the run has finished already, and where the rest is noted; None for a run that lives in memory.
        """
        return await _Execution(self, workflow, request, run, on_text).execute()


@dataclass(slots=True)
class _Execution:
    """One run while it runs. sent: how many characters of each text of the output have been sent."""

    engine: Engine
    workflow: Workflow
    request: RunRequest
    run: Run
    on_text: OnText | None
    usages: list[dict[str, int]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    finish_reasons: list[FinishReason] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    async def execute(self) -> Outcome:
        await self._run_jobs()
        output = self._default_output()
        if self.workflow.output is not None:
            output = _map_output(self.workflow.output, self._scope(output=output))
        if self.on_text is not None:
            for path, text in texts(output):
                if rest := text[self.sent.get(path, 0) :]:
                    await self.on_text(path, rest)
        return Outcome(output, self._usage(), _unique(self.warnings), self.finish_reasons)

    async def _run_jobs(self) -> None:
        """Start every job as soon as its needs have run; the first failure ends the others."""
        waiting = list(self.workflow.jobs)
        running: dict[asyncio.Task[Any], Job] = {}
        try:
            while waiting or running:
                ready = [job for job in waiting if self._may_start(job)]
                waiting = [job for job in waiting if job not in ready]
                if len(ready) == 1 and not running:
                    self.outputs[ready[0].id] = await self._run_job(ready[0])
                    continue
                running |= {asyncio.create_task(self._run_job(job)): job for job in ready}
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self.outputs[running.pop(task).id] = task.result()
        finally:
            await _cancel(running)

    def _may_start(self, job: Job) -> bool:
        return all(any(need in self.outputs for need in group) for group in job.needs)

    def _default_output(self) -> Any:
        """The outputs of the terminal jobs: merged when all are maps, else the last one's."""
        outputs = [self.outputs[job] for job in self.workflow.terminal]
        if all(isinstance(output, dict) for output in outputs):
            return {key: value for output in outputs for key, value in output.items()}
        return outputs[-1]

    def _scope(self, **more: Any) -> dict[str, Any]:
        return {
            "input": self.request.input,
            "env": self.engine.env,
            "jobs": {job: {"output": output} for job, output in self.outputs.items()},
            "context": {
                "task_id": self.run.task_id,
                "run_id": self.run.task_id,
                "session_id": self.run.session_id,
                "metadata": self.run.metadata,
            },
            **more,
        }

    async def _run_job(self, job: Job) -> Any:
        scope = self._scope()
        repeats = self._repeats(job, scope)
        if repeats == 1:
            result = await self._call(job, {**scope, "index": 0}, 0, "")
        else:
            limit = asyncio.Semaphore(_call(job).component.max_concurrent_count or REPEATS_AT_ONCE)

            async def repeat(index: int) -> Any:
                async with limit:
                    return await self._call(job, {**scope, "index": index}, index, f"[{index}]")

            result = await _gather([repeat(index) for index in range(repeats)])
        return result if job.output is None else _map_output(job.output, {**scope, "output": result})

    def _repeats(self, job: Job, scope: Mapping[str, Any]) -> int:
        if not isinstance(job.work, CallWork) or job.work.repeat_count is None:
            return 1
        value = render_input(job.work.repeat_count, scope, _REPEAT_COUNT.name)
        return cast(int, coerce(_REPEAT_COUNT, value))

    async def _call(self, job: Job, scope: dict[str, Any], index: int, place: str) -> Any:
        """One request to a task. place: the repeat's own part of a path in the output."""
        call = _call(job)
        if call.input is not None:
            scope["input"] = render_input(call.input, scope, "input")
        fields = render_fields(call.component, call.action, scope)
        if self.request.history and call.is_chat:
            fields["messages"] = with_history(fields["messages"], self.request.history)
        seed = choose_seed(fields, index, self.request.seed)
        streamed = self.on_text is not None and bool(job.pipes)
        done = await self._predict(
            call.component,
            TaskRequest(f"{self.run.task_id}/{job.id}{place}", fields, seed, streamed),
            (lambda delta: self._forward(job, place, delta)) if streamed else None,
        )
        self.usages.append(done.usage)
        self.warnings += done.warnings
        self.finish_reasons += done.finish_reasons
        if call.action.output is None:
            return done.result
        return _map_output(call.action.output, {**scope, "result": done.result, "output": done.result})

    async def _predict(
        self, component: Component, request: TaskRequest, on_delta: Callable[[Delta], Awaitable[None]] | None
    ) -> Done:
        async with self.engine.gates[component.id].turn():
            return await self.engine.clients[component.id].predict(request, on_delta)

    async def _forward(self, job: Job, place: str, delta: Delta) -> None:
        if self.on_text is None or not delta.text:
            return
        self.run.status = RunStatus.STREAMING
        part = "".join(f"[{index}]" for index in delta.path)
        for path, pipe in job.pipes:
            if pipe.carries(place, part):
                full = path + place + part
                self.sent[full] = self.sent.get(full, 0) + len(delta.text)
                await self.on_text(full, delta.text)

    def _usage(self) -> dict[str, int]:
        if len(self.usages) == 1:
            return self.usages[0]
        total: dict[str, int] = {}
        for usage in self.usages:
            for key, value in usage.items():
                if key != "seed":
                    total[key] = total.get(key, 0) + value
        return total


def _call(job: Job) -> ModelCall:
    assert isinstance(job.work, CallWork)
    assert isinstance(job.work.call, ModelCall)
    return job.work.call


def _map_output(tree: Tree, scope: Mapping[str, Any]) -> Any:
    try:
        return render(tree, scope)
    except ConversionError as error:
        raise ServiceError(
            500,
            "output_mapping_failed",
            f"The result does not fit the file's output: {error.message[:LONGEST_MESSAGE]}.",
            hint="Change the `output` of the workflow, job or action.",
        ) from None


def _unique(warnings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for index, item in enumerate(warnings) if item not in warnings[:index]]


async def _gather(coroutines: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All results in order; the first failure ends the others, which have ended when this raises."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _cancel(tasks)


async def _cancel(tasks: "Mapping[asyncio.Task[Any], Any] | list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
