"""How many pods there are: what rollouts, evictions and those who scale leave of them."""

from collections.abc import Iterator
from typing import Final

from infra.policy.objects import Manifest, Objects, Pod, name_of, target_of
from infra.policy.rules import Problem, Rule

_FEWEST: Final = 2
"""So that one can go while another one answers."""


def _bounds(scaler: Manifest) -> tuple[int, int]:
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        return spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
    return spec.get("minReplicas", 1), spec["maxReplicas"]


def _scaling_bounds(objects: Objects) -> Iterator[Problem]:
    for scaler in objects.of("HorizontalPodAutoscaler", "ScaledObject"):
        least, most = _bounds(scaler)
        if least < _FEWEST:
            yield scaler, f"there may be {'no pod' if least == 0 else 'a single pod'}, so nobody answers when it goes"
        if most <= least:
            yield scaler, f"there are {least} pods at least and {most} at most, so nothing is scaled"


def _scaling_target(objects: Objects) -> Iterator[Problem]:
    for scaler in objects.of("HorizontalPodAutoscaler", "ScaledObject"):
        version, kind, name = target_of(scaler)
        target = objects.find("Deployment", name)
        if target is None or (version, kind) != ("apps/v1", "Deployment"):
            yield scaler, f"it scales the {kind} `{name}`, which is not here"
        elif "replicas" in target["spec"]:
            yield target, "it says how many pods there are, which is decided elsewhere"
        elif len(objects.scalers(name)) > 1:
            yield scaler, f"it is not alone to scale `{name}`"


def _replicas(objects: Objects) -> Iterator[Problem]:
    for deployment in objects.of("Deployment"):
        is_single = deployment["spec"].get("replicas", 1) < _FEWEST
        if is_single and not objects.scalers(name_of(deployment)):
            yield deployment, "it has a single pod, so nobody answers when that goes"


def _evictions(objects: Objects) -> Iterator[Problem]:
    budgets = objects.of("PodDisruptionBudget")
    for pod in objects.pods:
        own = [each for each in budgets if pod in objects.selected(each["spec"].get("selector"))]
        if len(own) != 1:
            yield pod.owner, f"{len(own)} PodDisruptionBudgets are about its pods"
    for budget in budgets:
        picked = objects.selected(budget["spec"].get("selector"))
        if not picked:
            yield budget, "it is about no pod"
        if budget["spec"].get("maxUnavailable") != 1:
            yield budget, "it says otherwise than that pods may go one by one"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield budget, "a pod that is never ready keeps its node from being drained"


def _rollout(objects: Objects) -> Iterator[Problem]:
    """A pod that has a volume or a GPU for itself must go before the next one comes; any other one after that."""
    for pod in objects.pods:
        strategy = pod.owner["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        steps = rolling.get("maxSurge"), rolling.get("maxUnavailable")
        has_volume = any("persistentVolumeClaim" in volume for volume in pod.spec.get("volumes", ()))
        if has_volume:
            if strategy.get("type") != "Recreate":
                yield pod.owner, "a new pod waits for a volume that the old one keeps"
        elif strategy.get("type") != "RollingUpdate":
            yield pod.owner, "an update stops all pods at once"
        elif _has_gpu(pod) and steps != (0, 1):
            yield pod.owner, "a new pod waits for a GPU that the old one keeps"
        elif not _has_gpu(pod) and steps not in ((1, 0), (0, 1)):
            yield pod.owner, "an update takes pods away before there are others"


def _has_gpu(pod: Pod) -> bool:
    return any("/" in name for each in pod.containers for name in each.get("resources", {}).get("limits", {}))


def _claims(objects: Objects) -> Iterator[Problem]:
    for pod in objects.pods:
        for volume in pod.spec.get("volumes", ()):
            name = volume.get("persistentVolumeClaim", {}).get("claimName")
            if name and objects.find("PersistentVolumeClaim", name) is None:
                yield pod.owner, f"its pods want the volume `{name}`, which is not here"


RULES: Final = (
    Rule("scaling-bounds", "`scaling: {min: 2, max: 4}`", _scaling_bounds, has_exceptions=True),
    Rule("scaling-target", "let one object decide about one Deployment without `replicas`", _scaling_target),
    Rule("replicas", "have two pods or more", _replicas, has_exceptions=True),
    Rule(
        "evictions",
        "one PodDisruptionBudget each, `maxUnavailable: 1` and `unhealthyPodEvictionPolicy: AlwaysAllow`",
        _evictions,
    ),
    Rule("rollout", "RollingUpdate with 1 and 0, for GPUs 0 and 1, for volumes Recreate", _rollout),
    Rule("claims", "bring the PersistentVolumeClaim along", _claims),
)
