"""What components and overlays change of the base: of each Deployment only the lines that they are about."""

from typing import Any, Final

from infra.kubernetes.exceptions import of_local
from infra.kubernetes.objects import Manifest
from infra.kubernetes.services import service_host
from infra.kubernetes.workload import Export, Workload

_GPUS: Final = {
    "nvidia": ("nvidia.com/gpu", "nvidia.com/gpu.product"),
    "amd": ("amd.com/gpu", "amd.com/gpu.product-name"),
}
"""Of each vendor the resource, which taints go by as well, and the label by which its nodes say what they have."""

_WEIGHTS: Final = "weights"
_LOCAL_CPU: Final = "100m"
"""A machine of one's own has few processors; what is limited to more may still use them."""


def gpu_patch(export: Export, workload: Workload) -> Manifest:
    """GPUs, so that its pods may run on their nodes, which keep others away."""
    gpu = workload.share.gpu
    assert gpu is not None
    resource, label = _GPUS[gpu.vendor]
    amount = {resource: str(gpu.count)}
    spec: dict[str, Any] = {
        "containers": [{"name": workload.kind, "resources": {"requests": amount, "limits": amount}}],
        "tolerations": [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}],
    }
    if gpu.type:
        spec["nodeSelector"] = {gpu.label or label: gpu.type}
    return _of_pods(export, workload, spec)


def image_volume_patch(export: Export, workload: Workload) -> Manifest:
    """The image without its weights, and the weights from an image of their own, both fetched by the same rule."""
    volume = workload.volume
    assert volume is not None
    mount = {"name": _WEIGHTS, "mountPath": volume.path, "readOnly": True}
    source = {"reference": volume.weights, "pullPolicy": "Always"}
    spec = {
        "containers": [{"name": workload.kind, "image": volume.task, "volumeMounts": [mount]}],
        "volumes": [{"name": _WEIGHTS, "image": source}],
    }
    return _of_pods(export, workload, spec)


def addressed_patch(export: Export, workload: Workload) -> Manifest:
    """Let those ask who call a pod by its own address, or from another namespace, as whoever collects metrics does."""
    environment = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MODEL_COMPOSE_ALLOWED_HOSTS", "value": f"$(POD_IP),{service_host(export, workload)}"},
    ]
    return _of_pods(export, workload, {"containers": [{"name": workload.kind, "env": environment}]})


def local_patch(export: Export, workload: Workload) -> Manifest:
    """One pod that asks for little, of the image that the machine has by its tag."""
    container = {
        "name": workload.kind,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": _LOCAL_CPU}},
    }
    patch = _of_pods(export, workload, {"containers": [container]})
    patch["metadata"]["annotations"] = of_local(workload)
    patch["spec"]["replicas"] = 1
    return patch


def scaled_patch(workload: Workload) -> dict[str, Any]:
    """Without a number of pods: somebody else says it, and each new `apply` would take it back."""
    target = {"group": "apps", "version": "v1", "kind": "Deployment", "name": workload.name}
    return {"target": target, "patch": "- op: remove\n  path: /spec/replicas\n"}


def _of_pods(export: Export, workload: Workload, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": workload.name, "namespace": export.namespace},
        "spec": {"template": {"spec": spec}},
    }
