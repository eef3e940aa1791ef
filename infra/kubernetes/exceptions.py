"""What of an export knowingly breaks a rule, and why: because the file wants it so, or nothing else would work."""

from typing import Final

from infra.kubernetes.workload import Export, Workload
from infra.policy.rules import REASON

_BY_HAND: Final = "this overlay is for a cluster that was given the images themselves, by their tags"
_BY_TAG: Final = {
    f"{REASON}image": _BY_HAND,
    f"{REASON}pull": _BY_HAND,
    "checkov.io/skip2": f"CKV_K8S_15={_BY_HAND}",
    "checkov.io/skip3": f"CKV_K8S_43={_BY_HAND}",
}
"""Also for a well-known checker of manifests, which has annotations of its own."""
_SECRETS_IN_VARIABLES: Final = {
    "checkov.io/skip1": "CKV_K8S_35=libraries read these from variables; each pod is given its own alone",
}


def of_pods(workload: Workload) -> dict[str, str]:
    """Annotations of a Deployment."""
    found = dict(_SECRETS_IN_VARIABLES) if workload.secrets else {}
    if workload.replicas == 1:
        found[f"{REASON}replicas"] = _why_single(workload)
    return found


def _why_single(workload: Workload) -> str:
    if workload.kind == "page":
        return "a browser's requests must come to the pod that has its session"
    if workload.kind == "router":
        return "runs are in a file of its own; with `controller.database: postgresql://...` there are several"
    if workload.scaling:
        return f"the file says `scaling.min: {workload.scaling.min}`"
    return "the file wants one; with `replicas: 2` there is another one when it goes"


def of_scaler(workload: Workload) -> dict[str, str]:
    """Annotations of what scales it."""
    least = workload.scaling.min if workload.scaling else 0
    return {f"{REASON}scaling-bounds": f"the file says `scaling.min: {least}`"} if least < 2 else {}


def of_door(export: Export) -> dict[str, str]:
    """Annotations of a route from outside."""
    if export.token:
        return {}
    wanted = "the file says `controller.auth.insecure`, so whoever reaches it may use it"
    unused = "no overlay of the export has this door, and the file has no `controller.auth.token`"
    return {f"{REASON}token": wanted if export.exposed else unused}


def of_dashboard() -> dict[str, str]:
    """Annotations of the ConfigMap that Grafana reads."""
    return {f"{REASON}unread": "Grafana reads it, and the next dashboard must take the place of this one"}


def of_local(workload: Workload) -> dict[str, str]:
    """Annotations of a Deployment that the overlay for one machine changes."""
    found = dict(_BY_TAG)
    if workload.replicas > 1:
        found[f"{REASON}replicas"] = "this overlay is for a cluster on one machine, where a second pod adds nothing"
    return found
