"""Which jobs of a workflow can ever run: questions about edges that the file's checks and the compiler share."""

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

Branch = frozenset[tuple[str, str]]
"""The choices, as router and target, without which a job does not run."""


class Node(NamedTuple):
    """A job as others start it. needs: groups of job ids, of each of which one must have run; routed_by: the jobs that
    can route to it; when there are any, it runs only then."""

    needs: Collection[Collection[str]]
    routed_by: Collection[str]


def unstartable(jobs: Mapping[str, Node]) -> list[str]:
    """The routed jobs that nothing can ever start, because whatever routes to them comes after them; in order.

    Jobs that only follow such jobs are not named. Ids without a node count as jobs that run.
    """
    stuck = dict(jobs)
    while startable := [job for job, node in stuck.items() if not _is_stuck(node, stuck)]:
        for job in startable:
            del stuck[job]
    before = {job: {name for name in _before(node) if name in stuck} for job, node in stuck.items()}
    return [job for job in stuck if stuck[job].routed_by and job in following(before, job)]


def following(edges: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Everything that the edges lead to from `start`, which is among it only when a path comes back to it."""
    found: set[str] = set()
    ends = [start]
    while ends:
        new = [name for name in edges.get(ends.pop(), ()) if name not in found]
        found.update(new)
        ends += new
    return found


def cycle(before: Mapping[str, Iterable[str]]) -> list[str]:
    """Names that wait for each other, each before the next, from one back to itself; empty when there are none.

    before: what each name waits for. Begins with the one of the circle that comes first in `before`.
    """
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][:-1]
        first = circle.index(next(name for name in before if name in circle))
        return [*circle[first:], *circle[:first], circle[first]]
    return []


def visited_again(jobs: Mapping[str, Node]) -> set[str]:
    """The jobs that may run more than once in one run: several jobs route to them, or they follow such a job."""
    again = {job for job, node in jobs.items() if len(node.routed_by) > 1}
    while new := [job for job, node in jobs.items() if job not in again and not again.isdisjoint(_before(node))]:
        again.update(new)
    return again


def branches(jobs: Mapping[str, Node]) -> dict[str, Branch]:
    """The branch of every job; two jobs whose branches hold different targets of one router exclude each other."""
    found: dict[str, Branch] = {}

    def branch(job: str) -> Branch:
        if job not in found:
            found[job] = frozenset()  # what comes back to the job adds nothing
            if routers := jobs[job].routed_by:
                ways = [branch(router) | {(router, job)} for router in routers]
            else:
                ways = [branch(name) for name in _before(jobs[job])]
            found[job] = frozenset.intersection(*ways) if ways else frozenset()
        return found[job]

    return {job: branch(job) for job in jobs}


def _is_stuck(node: Node, stuck: Mapping[str, Node]) -> bool:
    never_routed = bool(node.routed_by) and all(name in stuck for name in node.routed_by)
    return never_routed or any(all(name in stuck for name in group) for group in node.needs)


def _before(node: Node) -> set[str]:
    return {*node.routed_by, *(name for group in node.needs for name in group)}
