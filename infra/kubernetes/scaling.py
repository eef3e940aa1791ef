"""How many pods there are: what an eviction leaves, what load adds, and what sleeps while nobody asks."""

from typing import Any, Final

from infra.kubernetes.exceptions import of_scaler
from infra.kubernetes.network import admit, pods_named
from infra.kubernetes.objects import Manifest, manifest, pods_of
from infra.kubernetes.observing.promql import PREFIX, equal
from infra.kubernetes.services import service_host
from infra.kubernetes.workload import Export, Workload

_SLOW_DOWN_S: Final = 300
"""How long load must be gone before a pod goes, which took as long to load its model."""
_ASK_EVERY_S: Final = 5
_SLEEP_AFTER_S: Final = 300
_MANY: Final = 1_000
"""Requests for which one pod is enough, as far as waking goes, where processors say when another one is needed."""

_WANTED: Final = f"{PREFIX}wanted_requests"
"""The router's gauge of what a component is asked for, with what was refused a moment ago because no pod is there."""


def disruption_budget(export: Export, workload: Workload) -> Manifest:
    """One pod at a time may be evicted, also the only one: a node can always be drained."""
    spec = {"maxUnavailable": 1, "selector": pods_of(export, workload), "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return manifest("policy/v1", "PodDisruptionBudget", export, workload.name, workload, spec=spec)


def autoscaler(export: Export, workload: Workload) -> Manifest:
    """By processors, which every cluster measures."""
    assert workload.scaling is not None
    scaling = workload.scaling
    spec = {
        "scaleTargetRef": _target(workload),
        "minReplicas": scaling.min,
        "maxReplicas": scaling.max,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": scaling.target_percent},
                },
            }
        ],
        "behavior": _behavior(),
    }
    return manifest(
        "autoscaling/v2", "HorizontalPodAutoscaler", export, workload.name, workload, of_scaler(workload), spec=spec
    )


def scaled_object(export: Export, workload: Workload) -> Manifest:
    """KEDA's: the router says whether anybody asks, and it or processors how many pods that takes."""
    assert workload.scaling is not None
    scaling = workload.scaling
    router = export.router
    wake: dict[str, Any] = {
        "type": "metrics-api",
        "metadata": {
            "url": f"http://{service_host(export, router)}:{router.port}/metrics",
            "format": "prometheus",
            "valueLocation": f"{_WANTED}{{{equal('component', workload.service)}}}",
            "targetValue": str(scaling.requests or _MANY),
            "activationTargetValue": "0",
        },
    }
    if router.replicas > 1:  # each of them knows its own requests only
        wake["metadata"] |= {"aggregateFromKubeServiceEndpoints": "true", "aggregationType": "sum"}
    if export.token:
        wake["metadata"]["authMode"] = "bearer"
        wake["authenticationRef"] = {"name": export.name}
    load = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": str(scaling.target_percent)}}
    spec = {
        "scaleTargetRef": _target(workload),
        "minReplicaCount": scaling.min,
        "maxReplicaCount": scaling.max,
        "pollingInterval": _ASK_EVERY_S,
        "cooldownPeriod": _SLEEP_AFTER_S,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior()}},
        "triggers": [wake, load] if scaling.max > 1 and scaling.requests is None else [wake],
    }
    return manifest("keda.sh/v1alpha1", "ScaledObject", export, workload.name, workload, of_scaler(workload), spec=spec)


def trigger_authentication(export: Export) -> Manifest:
    """How KEDA asks a router that wants its token."""
    spec = {"secretTargetRef": [{"parameter": "token", "name": export.secret, "key": export.token}]}
    return manifest("keda.sh/v1alpha1", "TriggerAuthentication", export, export.name, spec=spec)


def admit_keda(export: Export) -> Manifest:
    return admit(export, export.router, f"{export.router.name}-from-keda", pods_named("keda-operator", "keda"))


def _target(workload: Workload) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name}


def _behavior() -> dict[str, Any]:
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": _SLOW_DOWN_S,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        },
    }
