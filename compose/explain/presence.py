"""Whether a job's output is sure to be there, whatever a run's routers choose and whatever fails."""

from collections.abc import Collection

from services.router.analysis.reachability import in_order
from services.router.graph import DelayWork, Job, Router, Workflow, starts


class Presence:
    """What may be missing in one workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._jobs = {job.id: job for job in workflow.jobs}
        self._routers = [job for job in workflow.jobs if isinstance(job.work, Router)]
        self._known: dict[str, str | None] = {}
        for job_id in in_order(starts(workflow.jobs)):
            self._skipped(self._jobs[job_id])  # in this order, so that none asks for many others

    def absence(self, job_id: str, others: Collection[str] = ()) -> str | None:
        """Why the output of a job may be missing, in words; None when it is sure.

        others: jobs that were looked for first; this one is read only when their outputs are missing.
        """
        job = self._jobs[job_id]
        if job.on_error is not None and job.on_error.to is not None:
            return f"{job_id} may fail, and then {job.on_error.to} goes on"
        if self._covers({job_id, *others}) or any(map(self._gives, others)):
            return self._empty([job_id])
        return self._empty([job_id]) or self._skipped(job)

    def absence_in(self, reader: Job, job_id: str, others: Collection[str] = ()) -> str | None:
        """The same in a template of another job, which runs only once it need not wait any longer."""
        read = {job_id, *others}
        everything = {name for group in reader.needs for name in group}
        if everything <= read and not reader.routed:  # one of them has run, or else the reader is skipped
            return self._empty(read & everything)
        groups = [set(group) for group in reader.needs if job_id in group]
        if not any(group <= read for group in groups):
            return f"{reader.id} may begin before {job_id} has run"
        return self.absence(job_id, others)

    def _empty(self, names: Collection[str]) -> str | None:
        """Why a job that counts as run may have no output."""
        jobs = [self._jobs[name] for name in sorted(names)]
        for job in jobs:
            if isinstance(job.work, DelayWork) and job.output is None:
                return f"the delay {job.id} has no output"
            if job.on_error is not None and job.on_error.to is None and job.on_error.output is None:
                return f"{job.id} gives nothing when it fails"
        return None

    def _skipped(self, job: Job) -> str | None:
        """Why a job may be skipped."""
        if job.id not in self._known:
            before = [name for group in job.needs for name in group]
            self._known[job.id] = f"{job.id} is skipped with {' and '.join(before)}"  # also when asked on the way back
            if job.routed:
                self._known[job.id] = f"{job.id} runs only when it is routed to"
            elif not before or self._covers(before) or any(map(self._runs, before)):
                self._known[job.id] = None
        return self._known[job.id]

    def _runs(self, job_id: str) -> bool:
        """Whether a job is sure to count as run."""
        return self._skipped(self._jobs[job_id]) is None and self._counts_as_run(job_id)

    def _gives(self, job_id: str) -> bool:
        """Whether a job is sure to have an output."""
        return self._runs(job_id) and self._empty([job_id]) is None

    def _covers(self, names: Collection[str]) -> bool:
        """Whether one of these is sure to run, because a router that always runs leads to no other job."""
        return any(
            set(router.targets) <= set(names)
            and router.leads_on
            and self._runs(router.id)
            and all(self._counts_as_run(name) for name in router.targets)
            for router in self._routers
        )

    def _counts_as_run(self, job_id: str) -> bool:
        """Whether a job that has failed is not skipped for those that wait for it."""
        on_error = self._jobs[job_id].on_error
        return on_error is None or on_error.to is None
