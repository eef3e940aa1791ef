"""Objects as rules see them: by kind and name, with the pods that they make and the selectors that pick those."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Manifest = dict[str, Any]

COMPONENT: Final = "app.kubernetes.io/component"
_UNITS: Final = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class Pod:
    """What an object makes pods from."""

    owner: Manifest
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", ()), *self.spec.get("containers", ())]

    @property
    def component(self) -> str | None:
        """`task`, `router` or `page`."""
        return self.labels.get(COMPONENT)

    def security(self, container: Mapping[str, Any], key: str) -> Any:
        """A container's own setting, else the pod's."""
        own = container.get("securityContext", {}).get(key)
        return self.spec.get("securityContext", {}).get(key) if own is None else own


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
                yield Pod(each, template.get("metadata", {}).get("labels", {}), template.get("spec", {}))

    def selected(self, selector: Mapping[str, Any] | None) -> list[Pod]:
        """The pods that a label selector picks: an empty one all of them, none nothing."""
        return [pod for pod in self.pods if selector is not None and picks(selector, pod.labels)]

    def scalers(self, deployment: str) -> list[Manifest]:
        """What decides how many pods a Deployment has."""
        found = self.of("HorizontalPodAutoscaler", "ScaledObject")
        return [each for each in found if each["spec"]["scaleTargetRef"]["name"] == deployment]

    def variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        """What a container is told in plain text: by ConfigMaps, and above them by itself."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found = self.find("ConfigMap", source.get("configMapRef", {}).get("name"))
            values |= found.get("data", {}) if found else {}
        return values | {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}


def picks(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """By equal labels alone; with expressions, which no export has, it picks nothing."""
    return "matchExpressions" not in selector and selector.get("matchLabels", {}).items() <= labels.items()


def name_of(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


def annotations_of(manifest: Manifest) -> Mapping[str, str]:
    found: Mapping[str, str] = manifest["metadata"].get("annotations", {})
    return found


def amount(quantity: str | int) -> float:
    """A quantity of Kubernetes as a number: `250m`, `1Gi`, 3."""
    text = str(quantity)
    number = text.rstrip("mkMGTi")
    return float(number) * _UNITS[text[len(number) :]]
