"""The files by which Kustomize puts a tree together: what belongs to it, and what is changed of it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from infra.kubernetes.workload import Workload

KUSTOMIZATION: Final = "kustomization.yaml"

Files = dict[str, dict[str, Any]]
"""Documents by their paths within a folder."""


def base(resources: Iterable[str]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(resources),
    }


def component(
    resources: Sequence[str] = (), patches: Sequence[dict[str, Any]] = (), generators: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """generators: of ConfigMaps, each from a file."""
    found: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    if resources:
        found["resources"] = sorted(resources)
    if patches:
        found["patches"] = list(patches)
    if generators:
        found["configMapGenerator"] = list(generators)
    return found


def overlay(components: Sequence[str], patches: Sequence[str] = (), images: Sequence[Workload] = ()) -> dict[str, Any]:
    """images: the workloads whose images are named as the machine has them that built them: by name and tag alone."""
    found: dict[str, Any] = {**base(["../../base"])}
    if components:
        found["components"] = [f"../../components/{name}" for name in components]
    if patches:
        found["patches"] = [{"path": path} for path in patches]
    if images:
        found["images"] = [_as_built(workload) for workload in images]
    return found


def _as_built(workload: Workload) -> dict[str, str]:
    name, _, tag = workload.image.partition("@")[0].rpartition(":")
    found = {"name": name, "newTag": tag}
    return found if workload.built in (None, name) else {**found, "newName": workload.built}
