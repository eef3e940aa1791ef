"""Decides which jobs of a workflow start, are skipped or start anew; it knows nothing of time, tasks or outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from services.errors import ServiceError
from services.router.graph import Job


class Start(NamedTuple):
    """A job that starts now. visit: from 1. routed_by: who routed to it, in file order."""

    job: Job
    visit: int
    routed_by: tuple[str, ...]


class _State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    RAN = "ran"
    SKIPPED = "skipped"


@dataclass(slots=True)
class _Node:
    """place: among the jobs of the file. visit: 1 and the times that a routing took the job back. starts: how often it
    has really been started."""

    job: Job
    place: int
    state: _State = _State.WAITING
    visit: int = 1
    starts: int = 0
    routed_by: set[str] = field(default_factory=set)

    @property
    def is_wanted(self) -> bool:
        """Whether it runs as soon as its needs are settled."""
        return bool(self.routed_by) or not self.job.routed


class Schedule:
    """The jobs of one run. Call `start`, and `settle` for each job that has ended, until nothing starts or runs.

    A job starts when of each group of its needs one has run or all are skipped; a routed job also needs a routing. It
    is skipped when all its needs are, or when nothing that may still run can route to it. Routing to a job that has
    been routed to before starts its next visit: the job, and every job that waits for it directly or through others,
    wait again, and their visits rise by one whether they had started or not, so that the numbers do not depend on
    which of several jobs ended first.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._nodes = {job.id: _Node(job, place) for place, job in enumerate(jobs)}
        self._waiting = dict(self._nodes)
        self._running = 0
        self._routes = any(job.targets for job in jobs)
        self._followers: dict[str, list[str]] = {job.id: [] for job in jobs}
        for job in jobs:
            for need in {need for group in job.needs for need in group}:
                self._followers[need].append(job.id)

    def start(self) -> list[Start]:
        """The jobs that start now, in file order; they run until they are settled or taken back.

        Raises ServiceError when one of them has been started too often.
        """
        starts = self._next() if self._waiting else []
        while not starts and not self._running and self._waiting:
            # jobs wait for each other through routings; those that nobody has chosen give way
            for node in [node for node in self._waiting.values() if not node.is_wanted]:
                self._skip(node)
            starts = self._next()
        return starts

    def settle(self, job_id: str, visit: int, *, ran: bool = True, target: str | None = None) -> set[str]:
        """A job has ended and routes to `target`; the ids of the jobs that this takes back, running ones included.

        ran: False when it counts as skipped for those who wait for it. Without effect for a visit that was taken back.
        """
        node = self._nodes[job_id]
        if not self.runs(job_id, visit):
            return set()
        node.state = _State.RAN if ran else _State.SKIPPED
        self._running -= 1
        return set() if target is None else self._route(job_id, self._nodes[target])

    def runs(self, job_id: str, visit: int) -> bool:
        """Whether this visit has started and has neither ended nor been taken back."""
        node = self._nodes[job_id]
        return node.state is _State.RUNNING and node.visit == visit

    def _next(self) -> list[Start]:
        nodes: list[_Node] = []
        again = True
        while again:
            again = False
            for node in self._settled_needs():
                if node.is_wanted and (node.routed_by or self._has_cause(node.job)):
                    self._begin(node)
                    nodes.append(node)
                elif node.is_wanted:
                    self._skip(node)
                    again = True
            again |= self._routes and self._skip_unreachable()
        nodes.sort(key=lambda node: node.place)
        return [Start(node.job, node.visit, self._routers(node)) for node in nodes]

    def _settled_needs(self) -> list[_Node]:
        return [node for node in self._waiting.values() if all(map(self._is_settled, node.job.needs))]

    def _is_settled(self, group: tuple[str, ...]) -> bool:
        states = [self._nodes[need].state for need in group]
        return _State.RAN in states or all(state is _State.SKIPPED for state in states)

    def _has_cause(self, job: Job) -> bool:
        """Whether it waited for nothing, or something that it waited for has run."""
        return not job.needs or any(self._nodes[need].state is _State.RAN for group in job.needs for need in group)

    def _begin(self, node: _Node) -> None:
        node.starts += 1
        if node.starts > node.job.max_run_count:
            raise ServiceError(
                500,
                "too_many_visits",
                f'The job "{node.job.id}" was routed to again and again and has run {node.job.max_run_count} times.',
                hint="Check the condition that leads back to it, or raise its `max_run_count`.",
            )
        node.state = _State.RUNNING
        self._running += 1
        del self._waiting[node.job.id]

    def _skip(self, node: _Node) -> None:
        node.state = _State.SKIPPED
        del self._waiting[node.job.id]

    def _skip_unreachable(self) -> bool:
        """Skip the jobs that nobody can route to any more; whether there were some."""
        unwanted = [node for node in self._waiting.values() if not node.is_wanted]
        live = self._live() if unwanted else set()
        unreachable = [node for node in unwanted if node.job.id not in live]
        for node in unreachable:
            self._skip(node)
        return bool(unreachable)

    def _live(self) -> set[str]:
        """The jobs that run, will run or, as far as the graph tells, may be made to run."""
        ends = [node.job.id for node in self._nodes.values() if self._is_source(node)]
        live = set(ends)
        while ends:
            node = self._nodes[ends.pop()]
            followers = (name for name in self._followers[node.job.id] if self._nodes[name].is_wanted)
            new = {*node.job.targets, *followers} - live
            live |= new
            ends += new
        return live

    def _is_source(self, node: _Node) -> bool:
        """Whether it makes others run without being made to run itself."""
        waits = node.state is _State.WAITING and node.is_wanted
        return node.state is _State.RUNNING or (waits and (bool(node.routed_by) or self._has_cause(node.job)))

    def _route(self, router: str, node: _Node) -> set[str]:
        taken_back: set[str] = set()
        if node.routed_by or node.state is not _State.WAITING:
            taken_back = self._take_back(node.job.id)
        node.routed_by.add(router)
        return taken_back

    def _take_back(self, job_id: str) -> set[str]:
        names = self._with_followers(job_id)
        for name in names:
            node = self._nodes[name]
            self._running -= node.state is _State.RUNNING
            node.state = _State.WAITING
            node.visit += 1
            node.routed_by -= names
            self._waiting[name] = node
        return names

    def _with_followers(self, job_id: str) -> set[str]:
        found = {job_id}
        ends: list[str] = [job_id]
        while ends:
            new = [name for name in self._followers[ends.pop()] if name not in found]
            found.update(new)
            ends += new
        return found

    def _routers(self, node: _Node) -> tuple[str, ...]:
        return tuple(sorted(node.routed_by, key=lambda name: self._nodes[name].place)) if node.routed_by else ()
