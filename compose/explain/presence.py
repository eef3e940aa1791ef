"""Whether a job's output is sure to be there, whatever a run's routers choose and whatever fails."""

from collections.abc import Collection

from services.router.graph import DelayWork, Job, Router, Workflow


class Presence:
    """What may be missing in one workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._jobs = {job.id: job for job in workflow.jobs}
        self._routers = [job for job in workflow.jobs if isinstance(job.work, Router)]
        self._known: dict[str, str | None] = {}

    def absence(self, job_id: str, others: Collection[str] = ()) -> str | None:
        """Why the output of a job may be missing, in words; None when it is sure.

        others: jobs that were looked for first; this one is read only when their outputs are missing.
        """
        job = self._jobs[job_id]
        if isinstance(job.work, DelayWork) and job.output is None:
            return f"the delay {job_id} has no output"
        if job.on_error is not None and job.on_error.to is not None:
            return f"{job_id} may fail, and then {job.on_error.to} goes on"
        if job.on_error is not None and job.on_error.output is None:
            return f"{job_id} gives nothing when it fails"
        return None if self._covers({job_id, *others}) else self._skipped(job)

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
