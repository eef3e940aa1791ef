"""Runs as they stand in the store, and back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.router.limits import address_of
from services.router.messages import Run, RunRequest, RunStatus
from services.router.store.database import Row
from services.router.values import to_json

SHOWN = "id, workflow, status, cancelled, labels, outcome, output"
"""The columns that `run_of` reads."""
LISTED = "id, workflow, status, cancelled, labels, outcome, null"
"""The same without the output, which may be large."""
CLAIMED = """id, workflow, digest, labels, request, cancelled, attempts, seconds() - accepted_at,
    exists (select 1 from finished_jobs where run = runs.id)"""
"""The columns that `claim_of` reads."""


ADDRESS_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this router is to carry out.

    attempts: this one included. age_s: since its acceptance. cancelled: somebody asked for its end before it was
    claimed. resumed: some of it is finished already.
    """

    task_id: str
    workflow_id: str
    digest: str
    request_id: str
    request: RunRequest
    cancelled: bool = False
    attempts: int = 1
    age_s: float = 0.0
    resumed: bool = False


def fingerprint(request: RunRequest, workflow_id: str) -> str:
    """Equal for requests that ask for the same, whoever asks."""
    said = {**request.to_json(), "client": "", "workflow_id": workflow_id}
    return hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode()).hexdigest()


def client_digest(client: str) -> str:
    """Who asks, as text of one length that begins with ADDRESS_DIGITS for the address; only equality matters."""
    return "".join(hashlib.sha256(text.encode()).hexdigest()[:ADDRESS_DIGITS] for text in (address_of(client), client))


def labels(request: RunRequest, request_id: str) -> str:
    """What is shown of a run before it has ended."""
    return to_json({"request_id": request_id, "session_id": request.session_id, "metadata": request.metadata})


def outcome(run: Run) -> str:
    """What is shown of a run that has ended, but for its output."""
    return to_json(
        {
            "error": run.error,
            "error_status": run.error_status,
            "retry_after_s": run.retry_after_s,
            "usage": run.usage,
            "warnings": run.warnings,
        }
    )


def run_of(row: Row) -> Run:
    """The run of a row of the columns SHOWN or LISTED."""
    task_id, workflow, status, cancelled, said, ended, output = row
    about: Mapping[str, Any] = json.loads(said)
    run = Run(task_id, workflow, about["request_id"], kept=True, status=RunStatus(status))
    run.session_id, run.metadata = about["session_id"], about["metadata"]
    if cancelled and not run.status.finished:
        run.status = RunStatus.CANCELLING
    if ended is not None:
        for name, value in json.loads(ended).items():
            setattr(run, name, value)
        if run.error is not None:
            run.error = {**run.error, "request_id": run.request_id}
    if output is not None:
        run.output = json.loads(output)
    return run


def claim_of(row: Row) -> Claim:
    """The claim of a row of the columns CLAIMED."""
    task_id, workflow, digest, said, request, cancelled, attempts, age_s, resumed = row
    given = json.loads(request)
    given["history"] = tuple(given["history"])
    return Claim(
        task_id,
        workflow,
        digest,
        json.loads(said)["request_id"],
        RunRequest(**given),
        bool(cancelled),
        attempts,
        max(float(age_s), 0.0),
        bool(resumed),
    )
