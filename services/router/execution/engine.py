"""Executes runs: the one thing between the doors, which know runs, and the tasks, which know requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.errors import ServiceError
from services.router.clients.client import TaskCaller
from services.router.execution.context import RunContext
from services.router.execution.hold import hold_of
from services.router.execution.sending import OnText, Sending
from services.router.execution.tally import Tally
from services.router.execution.workflow import run_workflow
from services.router.graph import Graph, Workflow
from services.router.journal import Journal
from services.router.limits import Gate
from services.router.messages import Run, RunRequest
from services.wire import FinishReason, Readiness


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

    env: the values of `${env.NAME}`. run_timeout_s: how long a run may take; None: any time. in_cluster: whether a
    task that is not there is waited for, and one that ends over a request may be followed by another.
    """

    def __init__(
        self,
        graph: Graph,
        clients: Mapping[str, TaskCaller],
        env: Mapping[str, str],
        run_timeout_s: float | None = None,
        in_cluster: bool = False,
    ) -> None:
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
        self.holds = {
            name: hold_of(component, partial(self._readiness, name), run_timeout_s) if in_cluster else None
            for name, component in graph.components.items()
        }

    async def _readiness(self, component_id: str) -> Readiness:
        return await self.clients[component_id].readiness()

    def leave(self) -> None:
        """Wait no longer for tasks that are not there."""
        for hold in self.holds.values():
            if hold is not None:
                hold.leave()

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
        journal: Journal | None = None,
    ) -> Outcome:
        """The whole run; raises ServiceError. Cancelling it cancels what its tasks compute.

        journal: what the run has finished already, and where the rest is noted; None for a run that lives in memory.
        """
        context = RunContext(
            self.graph,
            self.clients,
            self.gates,
            self.holds,
            request,
            run,
            journal,
            {
                "env": self.env,
                "context": {
                    "task_id": run.task_id,
                    "run_id": run.task_id,
                    "session_id": run.session_id,
                    "metadata": run.metadata,
                },
            },
            run_workflow,
        )
        sending = None if on_text is None else Sending(run, on_text)
        tally = Tally()
        output = await run_workflow(
            context, workflow, request.input, None if sending is None else sending.send, "", tally
        )
        if sending is not None:
            await sending.finish(output)
        return Outcome(output, tally.usage, tally.warnings, tally.finish_reasons)
