"""Which inputs every run of a workflow needs, whatever its routers choose."""

from collections.abc import Mapping, Sequence

from services.router.analysis.reachability import in_order
from services.router.graph import Job, Router, starts


def needed_by_all(jobs: Sequence[Job], own: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The names that no run can do without; what only one way needs is missed only there.

    own: what each job needs when it runs.
    """
    known = {job.id: job for job in jobs}
    nodes = starts(jobs)
    followers: dict[str, list[str]] = {job.id: [] for job in jobs}
    for job in jobs:
        for need in {need for group in job.needs for need in group}:
            followers[need].append(job.id)
    found: dict[str, frozenset[str]] = {}
    for name in reversed(in_order(nodes)):
        behind: list[frozenset[str]] = []
        job = known[name]
        if job.on_error is None or job.on_error.to is None:
            behind = [found[each] for each in followers[name] if not nodes[each].routed_by and each in found]
            if isinstance(job.work, Router) and job.leads_on:
                # a way back to what has run already asks for nothing new
                ways = [found[target] for target in job.targets if target in found]
                behind += [frozenset.intersection(*ways)] if ways else []
        found[name] = own[name].union(*behind)
    first = [found[job.id] for job in jobs if not job.needs and not job.routed]
    return frozenset().union(*first)
