"""The 28 checks that an export must pass, by their numbers: each a function to what is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from infra.kubernetes.objects import Manifest
from infra.kubernetes.workload import Export, Workload
from infra.policy.checking import findings
from infra.policy.objects import amount
from infra.policy.rules import Finding
from tests.infra.kubernetes.examples import loaded, lock
from tests.infra.kubernetes.tools import VERSIONS, model_problems, schema_problems


@dataclass(frozen=True)
class Applied:
    """Objects that are applied together. folder: of the tree. new: those that no folder before this one had."""

    example: str
    folder: str
    export: Export
    objects: list[Manifest]
    new: list[Manifest]

    @cached_property
    def broken(self) -> list[Finding]:
        """By our own rules, and without a reason."""
        return [each for each in findings(self.objects) if each.reason is None]

    def containers(self) -> Iterator[tuple[Workload, dict[str, Any], dict[str, Any]]]:
        """Of each workload the pods' spec and their container."""
        for workload in self.export.workloads:
            for each in self.objects:
                if (each["kind"], each["metadata"]["name"]) == ("Deployment", workload.name):
                    spec = each["spec"]["template"]["spec"]
                    yield workload, spec, spec["containers"][0]


@dataclass(frozen=True)
class Check:
    """rules: of our own policy. others: what it takes beside them."""

    demand: str
    rules: str = ""
    others: tuple[Callable[[Applied], Iterator[str]], ...] = field(default=())

    def problems(self, applied: Applied) -> list[str]:
        rules = self.rules.split()
        broken = [each for each in applied.broken if each.rule in rules] if rules else []
        said = [f"{each.rule}: {each.kind}/{each.name}: {each.problem}" for each in broken]
        return [*said, *(problem for other in self.others for problem in other(applied))]


def _schemas(applied: Applied) -> Iterator[str]:
    versions = {True: VERSIONS[3:], False: VERSIONS}
    return (problem for each in applied.new for problem in schema_problems(each, versions[_mounts_image(each)]))


def _mounts_image(manifest: Manifest) -> bool:
    """Which no cluster can before 1.33, where its component is not for."""
    pod = manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else {}
    return any("image" in volume for volume in pod.get("volumes", ()))


def _models(applied: Applied) -> Iterator[str]:
    return (problem for each in applied.new for problem in model_problems(each))


def _built_images(applied: Applied) -> Iterator[str]:
    for workload, spec, container in applied.containers():
        image = f"{workload.built}:v1" if applied.folder == "overlays/local" else workload.image
        if applied.folder == "components/image-volume" and workload.volume:
            image = workload.volume.task
            mounted = [each["image"]["reference"] for each in spec["volumes"] if "image" in each]
            if mounted != [workload.volume.weights]:
                yield f"{workload.name} mounts {mounted}, not {workload.volume.weights}"
        if container["image"] != image:
            yield f"{workload.name} runs {container['image']}, not {image}"


def _memory_of_lock(applied: Applied) -> Iterator[str]:
    file = loaded(applied.example)
    for component, model in zip(file.spec.models, lock(file).models.values(), strict=True):
        for workload, _, container in applied.containers():
            memory = amount(container["resources"]["requests"]["memory"])
            if workload.service == component.name and memory < 1.3 * (model.weights_bytes or 0) + 2**30:
                yield f"{workload.name} has too little memory for its weights"


def _gpus_where_asked(applied: Applied) -> Iterator[str]:
    for workload, _, container in applied.containers():
        if any("/" in name for name in container["resources"]["limits"]) and workload.share.gpu is None:
            yield f"{workload.name} asks for no GPU"


def _spare(applied: Applied) -> Iterator[str]:
    """Whoever has no GPU and no volume for itself is there before an old one goes."""
    for each in applied.objects:
        for workload in applied.export.workloads:
            if (each["kind"], each["metadata"]["name"]) == ("Deployment", workload.name):
                steps = each["spec"]["strategy"].get("rollingUpdate", {"maxSurge": 0})
                if steps["maxSurge"] == bool(workload.share.gpu or workload.claims):
                    yield f"{workload.name} has {steps['maxSurge']} pods more during an update"


def _probe_budget(applied: Applied) -> Iterator[str]:
    for workload, _, container in applied.containers():
        probe = container.get("startupProbe", {})
        if probe.get("periodSeconds", 0) * probe.get("failureThreshold", 0) < max(300, workload.start_timeout_s):
            yield f"{workload.name} has too little time to start"


def _grace(applied: Applied) -> Iterator[str]:
    for workload, spec, _ in applied.containers():
        if spec["terminationGracePeriodSeconds"] < 10 + workload.request_timeout_s + 5:
            yield f"{workload.name} is killed while it answers"


def _no_sentinel(applied: Applied) -> Iterator[str]:
    if "sentinel" in str(applied.objects):
        yield "a secret's value is in an object"


CHECKS: Final = {
    1: Check("the strict schemas of Kubernetes 1.30 to 1.37, and the client's models", others=(_schemas, _models)),
    2: Check("`kubectl kustomize` of base, components and overlays"),
    3: Check("unique names, explicit namespace", "names unique namespace"),
    4: Check(
        "Pod Security Standard `restricted`",
        "admission host-namespaces host-ports volumes privileged user capabilities escalation seccomp",
    ),
    5: Check("images by tag and digest, equal to the built ones", "image pull", (_built_images,)),
    6: Check("uid and gid above 10000, not root", "user"),
    7: Check("read-only root, and a place of limited size to write", "read-only-root writable"),
    8: Check("no capability, no escalation, seccomp", "capabilities escalation seccomp"),
    9: Check("no token and no rights", "account-token account cluster-rights service-links"),
    10: Check("requests and limits of cpu, memory, ephemeral-storage", "resources"),
    11: Check("memory from the lock", "memory", (_memory_of_lock,)),
    12: Check("GPUs only where asked, with toleration", "gpu", (_gpus_where_asked,)),
    13: Check("three HTTP probes on a named port", "probes ports", (_probe_budget,)),
    14: Check("no probe host", "probe-host"),
    15: Check("preStop and grace", "leaving", (_grace,)),
    16: Check("selectors and target ports exist", "selectors target-ports claims"),
    17: Check("ClusterIP only", "cluster-ip"),
    18: Check("HPA target and bounds", "scaling-bounds scaling-target"),
    19: Check("evictions are never all blocked, and leave a pod", "evictions replicas"),
    20: Check("topology spread", "spread"),
    21: Check("rollout strategy", "rollout", (_spare,)),
    22: Check(
        "page to router to tasks, tasks to DNS",
        "network-closed network-ports network-in network-out network-dns network-links",
    ),
    23: Check("routes to existing services, with TLS", "routes tls token"),
    24: Check("no secret literal", "secrets variables", (_no_sentinel,)),
    25: Check("recommended labels", "labels"),
    26: Check("offline variables", "offline"),
    27: Check("immutable ConfigMap, a change rolls the pods", "settings"),
    28: Check("checkov: none failed"),
}
"""Numbers 2 and 28 are about folders as they are on disk, and tested so."""
