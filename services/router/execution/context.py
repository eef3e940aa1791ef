"""What all jobs of one run share, those of the workflows inside it included."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.router.clients.client import TaskCaller
from services.router.execution.hold import Hold
from services.router.execution.sending import OnText
from services.router.execution.share import Share
from services.router.execution.tally import Tally
from services.router.graph import Component, Graph, Workflow
from services.router.journal import Journal
from services.router.limits import Gate
from services.router.messages import Run, RunRequest


@dataclass(slots=True)
class RunContext:
    """clients, gates, holds: by component id. values: the sources of expressions that are the same in all of the run.

    journal: what the run has finished already, and where the rest is noted; None for a run that lives in memory.
    run_workflow: runs a workflow on an input inside this run; `place` keeps its jobs' keys apart from all others.
    """

    graph: Graph
    clients: Mapping[str, TaskCaller]
    gates: Mapping[str, Gate]
    holds: Mapping[str, Hold | None]
    request: RunRequest
    run: Run
    journal: Journal | None
    values: Mapping[str, Any]
    run_workflow: "RunWorkflow"
    _shares: dict[str, Share] = field(default_factory=dict)

    def share(self, component: Component) -> Share:
        """The run's share of a component."""
        if (share := self._shares.get(component.id)) is None:
            gate = self.gates[component.id]
            share = Share(component, gate, self.request.client, self.journal is not None)
            self._shares[component.id] = share
        return share


RunWorkflow = Callable[[RunContext, Workflow, Any, OnText | None, str, Tally], Awaitable[Any]]
"""Awaited with context, workflow, input, where its text goes, place, and the tally that its calls are added to; gives
the output."""
