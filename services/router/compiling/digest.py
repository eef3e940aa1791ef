"""A workflow's digest, by which a durable run knows after a restart that it may go on."""

import hashlib
import json
from collections.abc import Iterator, Mapping

from services.router.compiling.components import Components
from services.router.settings import (
    ComponentJobSettings,
    ForEachJobSettings,
    LoopJobSettings,
    WorkflowSettings,
)

_FOR_READERS = {"name", "title", "description", "default", "private"}
"""What a workflow says of itself without changing what a run does."""


def digest(settings: WorkflowSettings, components: Components, inner: Mapping[str, str]) -> str:
    """SHA-256 of everything that decides what a run does: the workflow, and the actions that it calls.

    inner: the digests of the workflows that it runs, by id.
    """
    asked = {f"{component}/{action}": components.described(component, action) for component, action in _asked(settings)}
    described = {
        "workflow": settings.model_dump(mode="json", exclude=_FOR_READERS),
        "actions": asked,
        "workflows": dict(inner),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _asked(settings: WorkflowSettings) -> Iterator[tuple[str, str]]:
    """Component and action of each call."""
    for job in settings.jobs:
        match job:
            case ComponentJobSettings():
                yield job.component, job.action
            case ForEachJobSettings() | LoopJobSettings():
                yield job.do.component, job.do.action
