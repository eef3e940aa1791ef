"""One call of a component: a request to a model's task, or a run of another workflow inside this one."""

import asyncio
from asyncio import sleep
from typing import Any

from services.errors import ServiceError
from services.router.clients.client import TASK_CRASHED, NotReady, OnDelta
from services.router.execution.context import RunContext
from services.router.execution.fields import choose_seed, render_fields, render_input, render_output, with_history
from services.router.execution.hold import Hold, Leaving
from services.router.execution.sending import OnText
from services.router.execution.tally import Tally
from services.router.graph import Call, Component, Job, ModelCall, WorkflowCall
from services.router.messages import shutting_down
from services.wire import Delta, Done, TaskRequest


class Caller:
    """Makes the calls of one attempt of a job.

    place: what keeps the attempt apart from everything else in the run. send: where the job's text goes while it is
    made; None keeps it. sent: whether some has gone there.
    """

    def __init__(self, context: RunContext, job: Job, place: str, send: OnText | None, with_history: bool) -> None:
        self.sent = False
        self._context = context
        self._job = job
        self._place = place
        self._send = send if job.pipes else None
        self._with_history = with_history

    async def call(self, call: Call, scope: dict[str, Any], tally: Tally, index: int | None = None) -> Any:
        """The call's result as its action maps it. index: of the repeat, item or iteration. Raises ServiceError."""
        if call.input is not None:
            scope = {**scope, "input": render_input(call.input, scope, "input")}
        part = "" if index is None else f"[{index}]"
        if isinstance(call, WorkflowCall):
            result, mapping = await self._run(call, scope, part, tally), call.output
        else:
            result, mapping = await self._ask(call, scope, index or 0, part, tally), call.action.output
        return result if mapping is None else render_output(mapping, {**scope, "result": result, "output": result})

    async def _ask(self, call: ModelCall, scope: dict[str, Any], index: int, part: str, tally: Tally) -> Any:
        context, component = self._context, call.component
        fields = render_fields(component, call.action, scope)
        if self._with_history and call.is_chat:
            fields["messages"] = with_history(fields["messages"], context.request.history)
        seed = choose_seed(fields, index, context.request.seed)
        request = TaskRequest(f"{context.run.task_id}/{self._place}{part}", fields, seed, self._send is not None)
        on_delta = None if self._send is None else lambda delta: self._forward_delta(part, delta)
        done = await self._answer(component, request, on_delta)
        tally.count(done)
        return done.result

    async def _answer(self, component: Component, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        """The task's answer, from another pod where one ended over it: once, and while none of its text has been sent.

        A call that waits for a pod keeps its place in the run, and takes no turn from others. A kept run waits for no
        pod here: it has its time in the store, and others go on meanwhile.
        """
        hold = self._context.holds[component.id]
        share = self._context.share(component)
        until_s: float | None = None
        crash: ServiceError | None = None
        async with share.place() as is_one_of_many:
            follows = is_one_of_many
            while True:
                try:
                    async with share.turn(follows):
                        return await self._predict(component.id, request, on_delta)
                except ServiceError as error:
                    if hold is None:
                        raise
                    follows = True
                    if isinstance(error, NotReady) and not error.sent:
                        if self._context.journal is not None and crash is None:
                            raise
                        until_s = until_s or hold.begin()
                        await self._wait(hold, error, until_s, crash)
                    elif crash is None and not self.sent and _is_lost(error):
                        crash, until_s = _for_good(error), None
                    else:
                        raise _for_good(error) from None

    async def _wait(self, hold: Hold, error: NotReady, until_s: float, crash: ServiceError | None) -> None:
        """As `Hold.wait`; the run knows meanwhile that it waits, and afterwards what for if it was ended over it."""
        run = self._context.run
        refusal = crash or error
        run.waiting += 1
        try:
            await hold.wait(error, self._context.request.client, run.task_id, until_s, refusal)
        except asyncio.CancelledError:
            run.missed = (asyncio.get_running_loop().time(), refusal)
            raise
        except Leaving:
            raise (shutting_down() if self._context.journal is None else error) from None
        finally:
            run.waiting -= 1

    async def _predict(self, component_id: str, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        """The task's answer. A kept run waits as long as the task's own queue is full."""
        client = self._context.clients[component_id]
        while True:
            try:
                return await client.predict(request, on_delta)
            except ServiceError as error:
                if self._context.journal is None or error.code != "overloaded":
                    raise
                await sleep(error.retry_after_s or 1)

    async def _run(self, call: WorkflowCall, scope: dict[str, Any], part: str, tally: Tally) -> Any:
        workflow = self._context.graph.workflows[call.workflow]
        given = scope["input"] if call.own_input is None else render_input(call.own_input, scope, "input")
        if not isinstance(given, dict) and any(item.required for item in workflow.inputs.declared):
            raise ServiceError(
                422,
                "invalid_input",
                f'The workflow "{workflow.id}" needs an object of inputs by name.',
                hint=f'Give the job "{self._job.id}" an `input` with these names.',
                field="input",
            )
        try:
            workflow.inputs.check(given if isinstance(given, dict) else {})
        except ServiceError as error:
            error.hint = f'The job "{self._job.id}" runs the workflow "{workflow.id}": give it a value in its `input`.'
            raise
        send = None if self._send is None else lambda path, text: self._forward_inner(part, path, text)
        place = f"{self._place}{part}/"
        return await self._context.run_workflow(self._context, workflow, given, send, place, tally)

    async def _forward_delta(self, part: str, delta: Delta) -> None:
        inside = "".join(f"[{index}]" for index in delta.path)
        for path, pipe in self._job.pipes:
            if delta.text and pipe.carries(part, inside):
                await self._forward(path + part + inside, delta.text)

    async def _forward_inner(self, part: str, inner: str, text: str) -> None:
        for path, pipe in self._job.pipes:
            inside = pipe.part(inner)
            if inside is not None and pipe.carries(part, inside):
                await self._forward(path + part + inside, text)

    async def _forward(self, path: str, text: str) -> None:
        assert self._send is not None
        self.sent = True
        await self._send(path, text)


def _is_lost(error: ServiceError) -> bool:
    """Whether the task ended or fell silent over the request."""
    return error.code == TASK_CRASHED or (isinstance(error, NotReady) and error.sent)


def _for_good(error: ServiceError) -> ServiceError:
    """The error, so that also a kept run ends with it and silences no further pod."""
    if not isinstance(error, NotReady):
        return error
    return ServiceError(error.status, error.code, error.message, hint=error.hint, retry_after_s=error.retry_after_s)
