"""How Prometheus collects the metrics: by the objects that its operator reads, or by a configuration of its own."""

from typing import Any, Final

from infra.kubernetes.network import admit, pods_named
from infra.kubernetes.objects import Manifest, labels, manifest
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload

_EVERY: Final = "15s"
_PATH: Final = "/metrics"
_PICKED: Final = ("name", "component", "part-of")
"""The labels of a Service by which it is found."""
_SECRETS: Final = "/etc/prometheus/secrets"
"""Where the operator shows a Prometheus the secrets that it was given; by hand it may be the same."""


def watched(export: Export) -> list[Workload]:
    """The page counts nothing."""
    return [workload for workload in export.workloads if workload.kind != "page"]


def service_monitor(export: Export, workload: Workload) -> Manifest:
    endpoint: dict[str, Any] = {"port": PORT, "path": _PATH, "interval": _EVERY}
    if workload.kind == "router" and export.token:
        credentials = {"name": export.secret, "key": export.token}
        endpoint["authorization"] = {"type": "Bearer", "credentials": credentials}
    found = labels(export, workload)  # without `instance`, which some tools that apply an export write anew
    selector = {"matchLabels": {f"app.kubernetes.io/{each}": found[f"app.kubernetes.io/{each}"] for each in _PICKED}}
    spec = {"selector": selector, "endpoints": [endpoint]}
    return manifest("monitoring.coreos.com/v1", "ServiceMonitor", export, workload.name, workload, spec=spec)


def scrape_configuration(export: Export) -> dict[str, Any]:
    """A configuration of Prometheus that gives pods the labels that its operator gives them."""
    return {"scrape_configs": [_scrape(export, workload) for workload in watched(export)]}


def admit_prometheus(export: Export, workload: Workload) -> Manifest:
    return admit(export, workload, f"{workload.name}-from-prometheus", pods_named("prometheus", "monitoring"))


def _scrape(export: Export, workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = {
        "job_name": f"{export.namespace}/{workload.name}",
        "scrape_interval": _EVERY,
        "metrics_path": _PATH,
        "kubernetes_sd_configs": [{"role": "endpointslice", "namespaces": {"names": [export.namespace]}}],
        "relabel_configs": [
            _keep("service_name", workload.name),
            _keep("endpointslice_port_name", PORT),
            _label("namespace", "namespace"),
            _label("job", "service_name"),
            _label("pod", "pod_name"),
        ],
    }
    if workload.kind == "router" and export.token:
        path = f"{_SECRETS}/{export.secret}/{export.token}"
        found["authorization"] = {"type": "Bearer", "credentials_file": path}
    return found


def _keep(about: str, value: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [f"__meta_kubernetes_{about}"], "regex": value}


def _label(name: str, about: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{about}"], "target_label": name}
