"""Under which names workloads find each other, and what all of them stand in: a namespace and an account."""

from infra.kubernetes.objects import Manifest, manifest, selector
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload


def namespace(export: Export) -> Manifest:
    """One that admits no pod which is not restricted."""
    found = manifest("v1", "Namespace", export, export.namespace)
    del found["metadata"]["namespace"]
    for mode in ("enforce", "audit", "warn"):
        found["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] = "restricted"
        found["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}-version"] = "latest"
    return found


def service_account(export: Export) -> Manifest:
    """May do nothing: no pod asks the cluster's own API for anything."""
    return manifest(
        "v1",
        "ServiceAccount",
        export,
        export.name,
        automountServiceAccountToken=False,
        imagePullSecrets=[{"name": registry_secret(export)}],
    )


def registry_secret(export: Export) -> str:
    """The name of the Secret with the credentials of the registry, which the user makes where there are some.

    Pods start without it where images need none, so it is always named.
    """
    return f"{export.name}-registry"


def service_host(export: Export, workload: Workload) -> str:
    """What pods of other namespaces call a workload."""
    return f"{workload.name}.{export.namespace}.svc"


def service(export: Export, workload: Workload) -> Manifest:
    port = {"name": PORT, "port": workload.port, "targetPort": PORT, "protocol": "TCP", "appProtocol": "http"}
    spec = {"type": "ClusterIP", "selector": selector(export, workload), "ports": [port]}
    return manifest("v1", "Service", export, workload.name, workload, spec=spec)
