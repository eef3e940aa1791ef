"""The pods of a workload: who they run as, what they may use, and how the cluster asks them how they are."""

import math
from typing import Any, Final

from infra.kubernetes.objects import labels, pods_of
from infra.kubernetes.settings import config_map_name
from infra.kubernetes.workload import PRE_STOP_S, USER, Claim, Export, Workload
from infra.resources import write_cpu, write_memory

PORT: Final = "http"
"""The name of the one port of every container."""
_TMP: Final = "/tmp"  # noqa: S108 - the one place of a container that can be written
READY_PATH: Final = "/readyz"
LIVE_PATH: Final = "/livez"
START_INTERVAL_S: Final = 5
_FEWEST_START_TRIES: Final = 60

_TMP_SIZE: Final = "512Mi"
_EPHEMERAL: Final = {"request": "256Mi", "limit": "1Gi"}
"""With room for what `/tmp` may hold and for the logs."""


def pod_template(export: Export, workload: Workload) -> dict[str, Any]:
    """What a Deployment makes pods from. Who they run as is said once, as some clusters choose that themselves."""
    security: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if workload.claims:
        security |= {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    spec = {
        "serviceAccountName": export.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else each Service becomes variables such as PAGE_PORT
        "nodeSelector": {"kubernetes.io/arch": workload.architecture, "kubernetes.io/os": "linux"},
        "securityContext": security,
        "terminationGracePeriodSeconds": workload.grace_s,
        "topologySpreadConstraints": [
            _spread(export, workload, place) for place in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [_container(export, workload)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
            *(
                {"name": claim.name, "persistentVolumeClaim": {"claimName": claim_name(workload, claim)}}
                for claim in workload.claims
            ),
        ],
    }
    return {"metadata": {"labels": labels(export, workload)}, "spec": spec}


def _container(export: Export, workload: Workload) -> dict[str, Any]:
    secrets = sorted(workload.secrets.items())
    container = {
        "name": workload.kind,
        "image": workload.image,
        "imagePullPolicy": "Always",  # with a digest, that is one small question, and it asks for the credentials
        "ports": [{"name": PORT, "containerPort": workload.port, "protocol": "TCP"}],
        "envFrom": [{"configMapRef": {"name": config_map_name(workload)}}],
        "env": [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": export.secret, "key": key}}} for name, key in secrets
        ],
        "resources": _resources(workload),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "startupProbe": _probe(READY_PATH, every=START_INTERVAL_S, within=5, tries=start_tries(workload)),
        "readinessProbe": _probe(READY_PATH, every=5, within=5, tries=3),
        "livenessProbe": _probe(LIVE_PATH, every=10, within=10, tries=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": _TMP},
            *({"name": claim.name, "mountPath": claim.path} for claim in workload.claims),
        ],
    }
    return {key: value for key, value in container.items() if value}


def _resources(workload: Workload) -> dict[str, dict[str, str]]:
    """Without GPUs, which are a component of their own: a cluster has one kind of them, or none."""
    share = workload.share
    memory = write_memory(share.memory_bytes)
    return {
        "requests": {
            "cpu": write_cpu(share.cpu_request),
            "memory": memory,
            "ephemeral-storage": _EPHEMERAL["request"],
        },
        "limits": {"cpu": write_cpu(share.cpu_limit), "memory": memory, "ephemeral-storage": _EPHEMERAL["limit"]},
    }


def start_tries(workload: Workload) -> int:
    """How often a pod is asked whether it is ready before it is taken for hung."""
    return max(_FEWEST_START_TRIES, math.ceil(workload.start_timeout_s / START_INTERVAL_S))


def _probe(path: str, *, every: int, within: int, tries: int) -> dict[str, Any]:
    """Without a host, so that the pod's own address is asked."""
    return {
        "httpGet": {"path": path, "port": PORT, "scheme": "HTTP"},
        "periodSeconds": every,
        "timeoutSeconds": within,
        "failureThreshold": tries,
    }


def _spread(export: Export, workload: Workload, place: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": place,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": pods_of(export, workload),
        "matchLabelKeys": ["pod-template-hash"],
    }


def claim_name(workload: Workload, claim: Claim) -> str:
    return f"{workload.name}-{claim.name}"
