"""The 28 checks that an export must pass, by their numbers: each but two a function to what is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from infra.kubernetes.objects import Manifest
from infra.kubernetes.tree import LOCAL, PROD
from infra.policy.checking import findings
from infra.policy.objects import amount
from infra.policy.rules import Finding
from tests.infra.kubernetes.asked import Asked, asked
from tests.infra.kubernetes.tools import VERSIONS, model_problems, schema_problems


@dataclass(frozen=True)
class Applied:
    """Objects that are applied together. folder: of the tree, or components. new: those that none before it had."""

    example: str
    folder: str
    objects: list[Manifest]
    new: list[Manifest]

    @cached_property
    def broken(self) -> list[Finding]:
        """By our own rules, and without a reason."""
        return [each for each in findings(self.objects, by_hand=self.is_local) if each.reason is None]

    @property
    def is_local(self) -> bool:
        return self.folder == LOCAL

    def has(self, component: str) -> bool:
        """Whether it is among these; overlays have that for GPUs."""
        return f"components/{component}" in self.folder.split() or (component == "gpu" and "overlays" in self.folder)

    def find(self, kind: str, name: str) -> Manifest | None:
        found = (each for each in self.objects if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return next(found, None)

    def pods(self) -> Iterator[tuple[Asked, dict[str, Any], dict[str, Any]]]:
        """Of each service that the file has the pods' spec and their container."""
        for each in asked(self.example):
            if (deployment := self.find("Deployment", each.name)) is not None:
                spec = deployment["spec"]["template"]["spec"]
                yield each, spec, spec["containers"][0]


@dataclass(frozen=True)
class Check:
    """demand: in words. rules: of our own policy. others: what it takes beside them."""

    demand: str
    rules: str = ""
    others: tuple[Callable[[Applied], Iterator[str]], ...] = ()

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


def _all_services(applied: Applied) -> Iterator[str]:
    wanted = {each.name for each in asked(applied.example)}
    found = {each["metadata"]["name"] for each in applied.objects if each["kind"] == "Deployment"}
    yield from (f"{name} is here once only: in the file or among the Deployments" for name in sorted(wanted ^ found))


def _built_images(applied: Applied) -> Iterator[str]:
    for wanted, spec, container in applied.pods():
        image = wanted.image.reference
        mounted = [each["image"]["reference"] for each in spec["volumes"] if "image" in each]
        weights: list[str] = []
        if applied.is_local:
            image = f"{wanted.image.built}:v1"
        elif applied.has("image-volume") and wanted.image.volume:
            image, weights = wanted.image.volume.task, [wanted.image.volume.weights]
        if (container["image"], mounted) != (image, weights):
            yield f"{wanted.name} runs {container['image']} with {mounted}, not {image} with {weights}"


def _resources_of_file(applied: Applied) -> Iterator[str]:
    for wanted, _, container in applied.pods():
        limit = amount(container["resources"]["limits"]["cpu"])
        if wanted.cpu is not None and limit != wanted.cpu:
            yield f"{wanted.name} may use {limit} processors, not {wanted.cpu}"


def _memory_of_lock(applied: Applied) -> Iterator[str]:
    for wanted, _, container in applied.pods():
        memory = amount(container["resources"]["requests"]["memory"])
        if memory < wanted.memory or (wanted.is_exact and memory != wanted.memory):
            yield f"{wanted.name} has {memory} bytes of memory, not {wanted.memory}"


def _gpus_of_file(applied: Applied) -> Iterator[str]:
    for wanted, spec, container in applied.pods():
        count = wanted.gpus if applied.has("gpu") else 0
        given = {name: int(value) for name, value in container["resources"]["limits"].items() if "/" in name}
        if given != ({"nvidia.com/gpu": count} if count else {}):
            yield f"{wanted.name} has the GPUs {given}, not {count}"
        if count and wanted.gpu_type and wanted.gpu_type not in spec["nodeSelector"].values():
            yield f"{wanted.name} may run on nodes without {wanted.gpu_type}"


def _bounds_of_file(applied: Applied) -> Iterator[str]:
    """A task that has bounds is scaled between them in production, and no task elsewhere."""
    bounds = {
        each["spec"]["scaleTargetRef"]["name"]: _bounds(each["spec"])
        for each in applied.objects
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    for wanted in asked(applied.example):
        is_task = wanted.name not in ("router", "page")
        is_due = wanted.bounds is not None and len({*wanted.bounds}) > 1
        if is_task and wanted.name in bounds and bounds[wanted.name] != wanted.bounds:
            yield f"{wanted.name} is scaled between {bounds[wanted.name]}, not {wanted.bounds}"
        if is_task and is_due and applied.folder == PROD and wanted.name not in bounds:
            yield f"{wanted.name} is not scaled"


def _bounds(spec: dict[str, Any]) -> tuple[int, int]:
    least, most = ("minReplicas", "maxReplicas") if "maxReplicas" in spec else ("minReplicaCount", "maxReplicaCount")
    return spec[least], spec[most]


def _spare(applied: Applied) -> Iterator[str]:
    """Whoever has no GPU and no volume for itself is there before an old one goes."""
    for wanted in asked(applied.example):
        deployment = applied.find("Deployment", wanted.name)
        steps = deployment["spec"]["strategy"].get("rollingUpdate", {"maxSurge": 0}) if deployment else {}
        if steps.get("maxSurge") != int(not wanted.alone):
            yield f"{wanted.name} has {steps.get('maxSurge')} pods more during an update"


def _probe_budget(applied: Applied) -> Iterator[str]:
    for wanted, _, container in applied.pods():
        probe = container.get("startupProbe", {})
        if probe.get("periodSeconds", 0) * probe.get("failureThreshold", 0) < wanted.start_s:
            yield f"{wanted.name} has too little time to start"


def _grace(applied: Applied) -> Iterator[str]:
    for wanted, spec, _ in applied.pods():
        if spec["terminationGracePeriodSeconds"] < wanted.grace_s:
            yield f"{wanted.name} is killed while it answers"


def _no_sentinel(applied: Applied) -> Iterator[str]:
    if "sentinel" in str(applied.objects):
        yield "a secret's value is in an object"


CHECKS: Final = {
    1: Check("the strict schemas of Kubernetes 1.30 to 1.37, and the client's models", others=(_schemas, _models)),
    3: Check("unique names, explicit namespace", "names unique namespace"),
    4: Check(
        "Pod Security Standard `restricted`",
        "kinds fields admission host-namespaces host-ports volumes privileged user capabilities escalation seccomp",
    ),
    5: Check("images by tag and digest, equal to the built ones", "image pull", (_built_images,)),
    6: Check("uid and gid above 10000, not root", "user"),
    7: Check("read-only root, and a place of limited size to write", "read-only-root writable"),
    8: Check("no capability, no escalation, seccomp", "capabilities escalation seccomp"),
    9: Check("no token and no rights", "account-token account cluster-rights service-links"),
    10: Check("requests and limits of cpu, memory, ephemeral-storage", "resources", (_resources_of_file,)),
    11: Check("memory from the lock", "memory", (_memory_of_lock,)),
    12: Check("GPUs only where asked, with toleration", "gpu", (_gpus_of_file,)),
    13: Check("three HTTP probes on a named port", "probes ports", (_probe_budget,)),
    14: Check("no probe host", "probe-host"),
    15: Check("preStop and grace", "leaving", (_grace,)),
    16: Check("selectors and target ports exist", "selectors target-ports claims", (_all_services,)),
    17: Check("ClusterIP only", "cluster-ip"),
    18: Check("HPA target and bounds", "scaling-bounds scaling-target", (_bounds_of_file,)),
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
    27: Check("immutable ConfigMap, a change rolls the pods", "settings unread"),
}
ON_DISK: Final = frozenset({2, 28})
"""`kubectl kustomize` of base, components and overlays; checkov: both are about files, and have tests of their own."""
