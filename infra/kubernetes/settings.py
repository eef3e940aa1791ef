"""What pods are told beside their images: a ConfigMap named by what it holds, so that a change rolls the pods."""

import hashlib
import json
from typing import Final

from infra.kubernetes.objects import Manifest, manifest
from infra.kubernetes.workload import Export, Workload

_OFFLINE: Final = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""For every pod: nothing is fetched and nobody is told anything, whatever the image says."""
_OF_TASKS: Final = {
    "BENTOML_DO_NOT_TRACK": "True",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_OF_PAGE: Final = {"GRADIO_ANALYTICS_ENABLED": "False"}


def variables(workload: Workload) -> dict[str, str]:
    """What is no secret, sorted."""
    own = {"task": _OF_TASKS, "router": {}, "page": _OF_PAGE}[workload.kind]
    return dict(sorted({**workload.environment, **_OFFLINE, **own}.items()))


def config_map_name(workload: Workload) -> str:
    text = json.dumps(variables(workload), sort_keys=True)
    return f"{workload.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def config_map(export: Export, workload: Workload) -> Manifest:
    """Immutable: what pods were started with stays what it was, and a rollback finds it again."""
    return manifest(
        "v1", "ConfigMap", export, config_map_name(workload), workload, immutable=True, data=variables(workload)
    )
