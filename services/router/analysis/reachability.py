"""Which jobs of a workflow can ever run, and when: questions about edges that the file's checks and the compiler share.

All of them take time in proportion to the edges, and none is recursive: a file may hold thousands of jobs in a row.
"""

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import NamedTuple

Choices = frozenset[tuple[str, str]]
"""The choices, as router and target, without which a job does not run."""


class Node(NamedTuple):
    """A job as others start it. needs: groups of job ids, of each of which one must have run; routed_by: the jobs that
    can route to it; when there are any, it runs only then. Ids without a node are passed over."""

    needs: Collection[Collection[str]]
    routed_by: Collection[str]


def nodes(groups: Mapping[str, Collection[Collection[str]]], targets: Mapping[str, Iterable[str]]) -> dict[str, Node]:
    """How each job comes to run, from the groups that it waits for and the jobs that it can route to."""
    routed_by: dict[str, list[str]] = {}
    for name, others in targets.items():
        for other in dict.fromkeys(others):
            routed_by.setdefault(other, []).append(name)
    return {name: Node(needed, routed_by.get(name, [])) for name, needed in groups.items()}


def needs(depends_on: Iterable[tuple[str, ...]], read: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The groups of the file, and one of its own for each job that is read and that no group names."""
    groups = tuple(depends_on)
    named = {name for group in groups for name in group}
    return (*groups, *((name,) for name in dict.fromkeys(read) if name not in named))


def in_order(jobs: Mapping[str, Node]) -> list[str]:
    """Each job after everything that may come before it, or, in a circle of routing, after enough to start it.

    In the order of `jobs` where that leaves a choice. Jobs that nothing can ever start are left out.
    """
    names = list(jobs)
    places = {name: place for place, name in enumerate(names)}
    open_ = {name: before & jobs.keys() for name, before in ((name, _before(node)) for name, node in jobs.items())}
    followers = _followers(open_)
    free = [places[name] for name, before in open_.items() if not before]
    found: dict[str, None] = {}
    while True:
        if not free:
            free = [places[name] for name in open_ if name not in found and _may_start(jobs[name], jobs, found)][:1]
        if not free:
            return list(found)
        name = names[heappop(free)]
        found[name] = None
        for follower in followers.get(name, ()):
            open_[follower].discard(name)
            if not open_[follower] and follower not in found:
                heappush(free, places[follower])


def unstartable(jobs: Mapping[str, Node]) -> list[str]:
    """The routed jobs that nothing can ever start, because whatever routes to them comes after them; in order.

    Jobs that only follow such jobs are not named.
    """
    started = set(in_order(jobs))
    stuck = {job: node for job, node in jobs.items() if job not in started}
    followers = _followers({job: _before(node) for job, node in stuck.items()})
    only_follow = set(in_order({job: Node([[name] for name in followers.get(job, ())], ()) for job in stuck}))
    return [job for job, node in stuck.items() if node.routed_by and job not in only_follow]


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
    chosen_twice = [job for job, node in jobs.items() if len(node.routed_by) > 1]
    return _reached(_followers({job: _before(node) for job, node in jobs.items()}), chosen_twice)


def choices(jobs: Mapping[str, Node]) -> dict[str, Choices]:
    """The choices that every job hangs on that can start; two jobs with different targets of one router exclude
    each other."""
    found: dict[str, Choices] = {}
    for job in in_order(jobs):
        if routers := jobs[job].routed_by:
            ways = [found.get(router, frozenset()) | {(router, job)} for router in routers]
        else:
            ways = [found.get(name, frozenset()) for name in _before(jobs[job])]
        found[job] = frozenset.intersection(*ways) if ways else frozenset()
    return found


def _groups(node: Node) -> list[Collection[str]]:
    """Of each group one must have run."""
    return [*node.needs, *([node.routed_by] if node.routed_by else [])]


def _before(node: Node) -> set[str]:
    return {name for group in _groups(node) for name in group}


def _may_start(node: Node, jobs: Mapping[str, Node], found: Collection[str]) -> bool:
    return all(any(name in found or name not in jobs for name in group) for group in _groups(node))


def _followers(before: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, others in before.items():
        for other in others:
            found.setdefault(other, []).append(name)
    return found


def _reached(edges: Mapping[str, Iterable[str]], starts: Iterable[str]) -> set[str]:
    """The starts and everything that the edges lead to from there."""
    ends = list(starts)
    found = set(ends)
    while ends:
        new = set(edges.get(ends.pop(), ())) - found
        found |= new
        ends += new
    return found
