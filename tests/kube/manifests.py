"""What `podman kube play` is given of an export: all that podman 4.3 can run, changed where it would run it wrongly."""

import base64
import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.kubernetes.objects import Manifest

LEFT_OUT: Final = {
    "Namespace": "podman has none; a network of its own stands for it",
    "ServiceAccount": "there is no server whose account it could be",
    "Service": "podman has none; an alias in the network stands for its name",
    "NetworkPolicy": "podman has none: these pods may ask whomever they like",
    "PodDisruptionBudget": "it is about evictions by a cluster",
}
"""Kinds that podman does not take, and why what is tested is true without them."""
CHANGED: Final = {
    "ports": "podman would publish each `containerPort` on all addresses of this machine",
    "livenessProbe": "podman would ask by curl in a shell of the image, which has neither; `Pod` asks instead",
    "emptyDir": "podman gives volumes of one name to all pods, where a cluster gives each pod its own",
}
"""Fields of a pod that are taken out or named otherwise. All others stay as they are in the export."""


@dataclass(frozen=True)
class Pod:
    """The one pod of a Deployment, and what podman is given for it.

    spec: of the pod as it was exported. documents: for `kube play`. volumes: that live as long as the pod.
    """

    name: str
    spec: Mapping[str, Any]
    documents: tuple[Manifest, ...]
    volumes: tuple[str, ...]

    @property
    def container(self) -> Mapping[str, Any]:
        (only,) = self.spec["containers"]
        found: Mapping[str, Any] = only
        return found

    @property
    def played_pod(self) -> str:
        """How podman calls it."""
        return f"{self.name}-pod-0"

    @property
    def played_container(self) -> str:
        return f"{self.played_pod}-{self.container['name']}"

    @property
    def grace_s(self) -> int:
        """How long it has from SIGTERM to SIGKILL: what the wait before leaves of the whole."""
        grace: int = self.spec["terminationGracePeriodSeconds"]
        waits: int = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        return grace - waits

    def port(self, name: str) -> int:
        (number,) = [each["containerPort"] for each in self.container["ports"] if each["name"] == name]
        found: int = number
        return found


@dataclass(frozen=True)
class Playable:
    """claims: what outlives the pods. left_out: kinds that nobody runs."""

    pods: tuple[Pod, ...]
    claims: tuple[Manifest, ...]
    left_out: frozenset[str]


def playable(objects: Iterable[Manifest]) -> Playable:
    """What podman runs of an overlay's objects."""
    given = list(objects)
    settings = [each for each in given if each["kind"] == "ConfigMap"]
    return Playable(
        pods=tuple(_pod(each, settings) for each in given if each["kind"] == "Deployment"),
        claims=tuple(each for each in given if each["kind"] == "PersistentVolumeClaim"),
        left_out=frozenset(each["kind"] for each in given if each["kind"] in LEFT_OUT),
    )


def secret_text(values: Mapping[str, str]) -> str:
    """A Secret as podman reads it from its own store of secrets; it takes none from a file of objects."""
    return json.dumps({name: base64.b64encode(value.encode()).decode() for name, value in values.items()})


def _pod(deployment: Manifest, settings: Iterable[Manifest]) -> Pod:
    name: str = deployment["metadata"]["name"]
    changed = copy.deepcopy(deployment)
    spec = changed["spec"]["template"]["spec"]
    renamed = {each["name"]: f"{name}-{each['name']}" for each in spec["volumes"] if "emptyDir" in each}
    for container in spec["containers"]:
        del container["ports"], container["livenessProbe"]
    for named in (*spec["volumes"], *(mount for each in spec["containers"] for mount in each["volumeMounts"])):
        named["name"] = renamed.get(named["name"], named["name"])
    return Pod(name, deployment["spec"]["template"]["spec"], (*settings, changed), tuple(renamed.values()))
