"""How the pods of a workload are kept and replaced, and the volumes that outlive them."""

from typing import Any, Final

from infra.kubernetes.exceptions import of_pods
from infra.kubernetes.objects import Manifest, manifest, pods_of
from infra.kubernetes.pods import START_INTERVAL_S, claim_name, pod_template, start_tries
from infra.kubernetes.workload import Export, Workload
from infra.policy.doors import TOKEN_VARIABLE
from infra.resources import write_memory

_KEPT_REVISIONS: Final = 5
_BESIDE_START_S: Final = 300
"""What a rollout may take beside the start of a pod, such as to fetch an image."""


def deployment(export: Export, workload: Workload) -> Manifest:
    spec = {
        "replicas": workload.replicas,
        "revisionHistoryLimit": _KEPT_REVISIONS,
        "progressDeadlineSeconds": progress_deadline_s(workload),
        "selector": pods_of(export, workload),
        "strategy": _strategy(workload),
        "template": pod_template(export, workload),
    }
    annotations = {**of_pods(workload), **_token_variable(export, workload)}
    return manifest("apps/v1", "Deployment", export, workload.name, workload, annotations, spec=spec)


def _token_variable(export: Export, workload: Workload) -> dict[str, str]:
    """Which of its variables is the token that it asks for, so that a door can be known to be guarded."""
    found = [name for name, key in workload.secrets.items() if key == export.token]
    return {TOKEN_VARIABLE: found[0]} if workload.kind == "router" and found else {}


def progress_deadline_s(workload: Workload) -> int:
    """How long an update may take for one pod more before the cluster calls it failed."""
    return start_tries(workload) * START_INTERVAL_S + _BESIDE_START_S


def _strategy(workload: Workload) -> dict[str, Any]:
    """A new pod comes before an old one goes, but where there may be no second GPU, or one volume for one pod."""
    if workload.claims:
        return {"type": "Recreate"}
    surge, unavailable = (0, 1) if workload.share.gpu else (1, 0)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def volume_claims(export: Export, workload: Workload) -> list[Manifest]:
    return [
        manifest(
            "v1",
            "PersistentVolumeClaim",
            export,
            claim_name(workload, claim),
            workload,
            spec={
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": write_memory(claim.size_bytes)}},
            },
        )
        for claim in workload.claims
    ]
