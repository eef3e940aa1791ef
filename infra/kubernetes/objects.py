"""What every object has: its kind, its name, its namespace and the labels that Kubernetes recommends."""

from collections.abc import Mapping
from typing import Any

from infra.kubernetes.workload import Export, Workload

Manifest = dict[str, Any]


def manifest(
    api_version: str,
    kind: str,
    export: Export,
    name: str,
    workload: Workload | None = None,
    annotations: Mapping[str, str] | None = None,
    **rest: Any,
) -> Manifest:
    """An object of the export's namespace, of one workload or of all; `rest` is what the kind has beside metadata."""
    metadata: dict[str, Any] = {"name": name, "namespace": export.namespace, "labels": labels(export, workload)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def labels(export: Export, workload: Workload | None = None) -> dict[str, str]:
    """The recommended ones. The version of a workload is what its image is pinned by."""
    own = {
        "app.kubernetes.io/part-of": export.name,
        "app.kubernetes.io/managed-by": "model-compose",
    }
    if workload is None:
        return {**own, "app.kubernetes.io/name": export.name, "app.kubernetes.io/instance": export.name}
    version = workload.image.rpartition("sha256:")[2][:12]
    return {**own, **selector(export, workload), "app.kubernetes.io/version": version}


def selector(export: Export, workload: Workload) -> dict[str, str]:
    """What picks the pods of a workload; it stays the same from version to version, which a Deployment asks for."""
    return {
        "app.kubernetes.io/name": workload.name,
        "app.kubernetes.io/instance": export.name,
        "app.kubernetes.io/component": workload.kind,
    }


def pods_of(export: Export, workload: Workload) -> dict[str, Any]:
    return {"matchLabels": selector(export, workload)}
