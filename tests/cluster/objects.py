"""What a cluster keeps, and what it refuses. It runs nothing: of a Deployment it says at once that every pod is there,
and of its past the templates, as ReplicaSets do."""

import copy
from collections.abc import Iterator
from typing import Any, Final

from tests.infra.kubernetes.tools import schema_problems

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace (empty where a kind has none) and name."""

KINDS: Final = {
    "v1": ("ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment", "ReplicaSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "gateway.networking.k8s.io/v1": ("Gateway", "HTTPRoute"),
    "keda.sh/v1alpha1": ("ScaledObject", "TriggerAuthentication"),
    "monitoring.coreos.com/v1": ("PrometheusRule", "ServiceMonitor"),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
}
_REVISION: Final = "deployment.kubernetes.io/revision"


class Objects:
    """What there is. past: of each Deployment its templates by their revisions."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.past: dict[Key, dict[int, Object]] = {}

    def of(self, kind: str) -> dict[str, Object]:
        """Those of a kind, by their names."""
        return {name: each for (known, _, name), each in self.objects.items() if known == kind}

    def keep(self, key: Key, new: Object) -> str | None:
        """Have the object so, or what speaks against it."""
        kind, namespace, _ = key
        old = self.objects.get(key, {})
        problems = [*schema_problems(new)]
        if namespace and ("Namespace", "", namespace) not in self.objects:
            problems.append(f"there is no namespace {namespace}")
        if old.get("immutable") and new.get("data") != old.get("data"):
            problems.append("data: Forbidden: field is immutable when `immutable` is set")
        if old and kind == "Deployment" and old["spec"]["selector"] != new["spec"]["selector"]:
            problems.append("spec.selector: field is immutable")
        if problems:
            return "; ".join(problems)
        self.objects[key] = new
        if kind == "Deployment":
            past = self.past.setdefault(key, {})
            template = copy.deepcopy(new["spec"]["template"])
            known = [revision for revision, each in past.items() if each == template]
            if not past or known != [max(past)]:
                revision = max(past, default=0) + 1
                self.past[key] = {each: past[each] for each in past if each not in known} | {revision: template}
        return None

    def remove(self, key: Key) -> None:
        """And with a namespace all that is in it."""
        for each in [*self.objects]:
            if each == key or (key[0] == "Namespace" and each[1] == key[2]):
                del self.objects[each]

    def shown(self, key: Key) -> Object:
        """An object as it is read: with what a cluster adds to it."""
        found = copy.deepcopy(self.objects[key])
        found["metadata"] |= {"uid": "-".join(key), "resourceVersion": "1", "generation": 1}
        if key[0] == "Namespace":
            found["status"] = {"phase": "Active"}
        elif key[0] == "Deployment":
            pods = found["spec"].get("replicas", 1)
            counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), pods)
            found["status"] = {"observedGeneration": 1, **counts}
            found["metadata"].setdefault("annotations", {})[_REVISION] = str(max(self.past[key]))
        return found

    def listed(self, kind: str, namespace: str) -> Iterator[Object]:
        if kind == "ReplicaSet":
            yield from (
                _replica_set(key, self.objects[key], revision, template)
                for key, past in self.past.items()
                for revision, template in past.items()
                if key[1] == namespace
            )
        for key in self.objects:
            if key[0] == kind and namespace in ("", key[1]):
                yield self.shown(key)


def _replica_set(key: Key, deployment: Object, revision: int, template: Object) -> Object:
    labels = {**template["metadata"]["labels"], "pod-template-hash": str(revision)}
    metadata = {
        "name": f"{key[2]}-{revision}",
        "uid": f"{key[2]}-{revision}",
        "namespace": key[1],
        "labels": labels,
        "annotations": {_REVISION: str(revision)},
        "ownerReferences": [{"kind": key[0], "name": key[2], "uid": "-".join(key), "controller": True}],
    }
    pods = {**template, "metadata": {**template["metadata"], "labels": labels}}
    spec = {"replicas": 0, "selector": deployment["spec"]["selector"], "template": pods}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}


def merged(old: Any, change: Any) -> Any:
    """A strategic merge, as `kubectl apply` orders it: of a list whose order it names the items are merged."""
    if not isinstance(old, dict) or not isinstance(change, dict):
        return change
    new = dict(old)
    for name, value in change.items():
        order = change.get(f"$setElementOrder/{name}")
        if value is None:
            new.pop(name, None)
        elif isinstance(value, list) and order and isinstance(order[0], dict):
            (key,) = order[0]
            changes = {each[key]: each for each in value if "$patch" not in each}
            known = {each[key]: each for each in old.get(name, ())}
            new[name] = [merged(known.get(each[key], {}), changes.get(each[key], {})) for each in order]
        elif not name.startswith("$"):
            new[name] = merged(old.get(name), value)
    return new


def operated(old: Object, operations: list[Object]) -> Object:
    """A JSON patch of the sort that `kubectl rollout undo` sends: replacements."""
    new = copy.deepcopy(old)
    for each in operations:
        assert each["op"] == "replace", each
        *keys, last = each["path"].strip("/").split("/")
        place = new
        for key in keys:
            place = place[key]
        place[last] = each["value"]
    return new


def plural(kind: str) -> str:
    """As kinds are called in paths."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"
