"""What watches the services: Prometheus, by the objects that its operator reads."""

from typing import Any, Final

from infra.kubernetes.network import admit, pods_named
from infra.kubernetes.objects import Manifest, manifest, pods_of
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload

_EVERY: Final = "15s"


def watched(export: Export) -> list[Workload]:
    """The page counts nothing."""
    return [workload for workload in export.workloads if workload.kind != "page"]


def service_monitor(export: Export, workload: Workload) -> Manifest:
    endpoint: dict[str, Any] = {"port": PORT, "path": "/metrics", "interval": _EVERY}
    if workload.kind == "router" and export.token:
        credentials = {"name": export.secret, "key": export.token}
        endpoint["authorization"] = {"type": "Bearer", "credentials": credentials}
    spec = {"selector": pods_of(export, workload), "endpoints": [endpoint]}
    return manifest("monitoring.coreos.com/v1", "ServiceMonitor", export, workload.name, workload, spec=spec)


def admit_prometheus(export: Export, workload: Workload) -> Manifest:
    return admit(export, workload, f"{workload.name}-from-prometheus", pods_named("prometheus"))
