"""A workflow's digest, by which a durable run knows after a restart that it may go on."""

import hashlib
import json
from collections.abc import Mapping

from services.router.compiling.components import Components
from services.router.settings import WorkflowSettings, asked

_FOR_READERS = {"name", "title", "description", "default", "private"}
"""What a workflow says of itself without changing what a run does."""


def digest(settings: WorkflowSettings, components: Components, inner: Mapping[str, str]) -> str:
    """SHA-256 of everything that decides what a run does: the workflow, and the actions that it calls.

    inner: the digests of the workflows that it runs, by id.
    """
    places = {place for place in map(asked, settings.jobs) if place is not None}
    described = {
        "workflow": settings.model_dump(mode="json", exclude=_FOR_READERS),
        "actions": {"/".join(place): components.described(*place) for place in sorted(places)},
        "workflows": dict(inner),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
