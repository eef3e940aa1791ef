"""Objects as rules see them: by kind and name, with the pods that they make and the selectors that pick those."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Manifest = dict[str, Any]
Container = dict[str, Any]

APPLICATION: Final = "app.kubernetes.io/name"
_KIND: Final = "app.kubernetes.io/component"
_QUANTITY: Final = re.compile(r"([+-]?[0-9]*\.?[0-9]+\.?(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?", re.ASCII)
_UNITS: Final = {
    "": 1.0,
    **{unit: 10.0 ** (3 * power) for power, unit in enumerate(("n", "u", "m"), -3)},
    **{unit: 10.0 ** (3 * power) for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": 2.0 ** (10 * power) for power, unit in enumerate("KMGTPE", 1)},
}


CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True)
class Pod:
    """What an object makes pods from."""

    owner: Manifest
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [each for kind in CONTAINERS for each in self.spec.get(kind, ())]

    @property
    def kind(self) -> str | None:
        """`task`, `router` or `page`."""
        return self.labels.get(_KIND)

    def security(self, container: Mapping[str, Any], key: str) -> list[Any]:
        """What is said of a container: by itself, which holds, and by the pod, which holds for whoever comes beside."""
        given = (container.get("securityContext") or {}, self.spec.get("securityContext") or {})
        return [each[key] for each in given if each.get(key) is not None]


@dataclass(frozen=True)
class Objects:
    """All that is applied together."""

    manifests: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [each for each in self.manifests if each.get("kind") in kinds]

    def find(self, kind: str, name: str | None) -> Manifest | None:
        return next((each for each in self.of(kind) if name_of(each) == name), None)

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(self._pods())

    def _pods(self) -> Iterator[Pod]:
        for each in self.manifests:
            template = each if each.get("kind") == "Pod" else each.get("spec", {}).get("template")
            if template:
                metadata = template.get("metadata", {})
                yield Pod(each, metadata.get("labels", {}), metadata.get("annotations", {}), template.get("spec", {}))

    def selected(self, selector: Mapping[str, Any] | None) -> list[Pod]:
        """The pods that a label selector picks: an empty one all of them, none nothing."""
        return [pod for pod in self.pods if selector is not None and picks(selector, pod.labels)]

    def scalers(self, deployment: str) -> list[Manifest]:
        """What decides how many pods a Deployment has."""
        found = self.of("HorizontalPodAutoscaler", "ScaledObject")
        return [each for each in found if target_of(each) == ("apps/v1", "Deployment", deployment)]

    def variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        """What a container is told in plain text: by ConfigMaps, and above them by itself, or by who knows what."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found = self.find("ConfigMap", source.get("configMapRef", {}).get("name"))
            values |= found.get("data", {}) if found else {}
        return values | {each["name"]: each.get("value", "") for each in container.get("env", ())}


def picks(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """By equal labels and by expressions, all of which must hold."""
    has_labels = selector.get("matchLabels", {}).items() <= labels.items()
    return has_labels and all(_holds(each, labels) for each in selector.get("matchExpressions", ()))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    is_there = expression["key"] in labels
    is_named = is_there and labels[expression["key"]] in expression.get("values", ())
    return {"In": is_named, "NotIn": not is_named, "Exists": is_there, "DoesNotExist": not is_there}[
        expression["operator"]
    ]


def allowed(selector: Mapping[str, Any] | None, key: str) -> frozenset[str]:
    """The values of this label that a selector picks, when it is about this label alone; else none."""
    given = selector or {}
    expressions = given.get("matchExpressions", [])
    if set(given.get("matchLabels", {})) == {key} and not expressions:
        return frozenset({given["matchLabels"][key]})
    if not given.get("matchLabels") and [(each["key"], each["operator"]) for each in expressions] == [(key, "In")]:
        return frozenset(expressions[0]["values"])
    return frozenset()


def target_of(scaler: Manifest) -> tuple[str, str, str]:
    """What it scales: version, kind and name."""
    target = scaler["spec"]["scaleTargetRef"]
    return target.get("apiVersion", "apps/v1"), target.get("kind", "Deployment"), target["name"]


def name_of(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


def labels_of(manifest: Manifest) -> Mapping[str, str]:
    found: Mapping[str, str] = manifest["metadata"].get("labels", {})
    return found


def annotations_of(manifest: Manifest) -> Mapping[str, str]:
    found: Mapping[str, str] = manifest["metadata"].get("annotations", {})
    return found


def amount(quantity: str | int) -> float:
    """A quantity of Kubernetes as a number: `250m`, `1Gi`, `1e3`, 3. Raises ValueError for what is none."""
    found = _QUANTITY.fullmatch(str(quantity))
    if not found:
        raise ValueError(f"`{quantity}` is no quantity")
    return float(found[1]) * _UNITS[found[2] or ""]
