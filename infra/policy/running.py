"""How a pod runs: its image, what it asks for, how it is asked, how it goes, and what it is told."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from infra.policy.objects import Container, Objects, Pod, amount, picks
from infra.policy.rules import Problem, Rule, of_pods

_PINNED: Final = re.compile(r"[^@\s]+:[\w][\w.-]*@sha256:[0-9a-f]{64}", re.ASCII)
_COUNTED: Final = ("cpu", "memory", "ephemeral-storage")
_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
_FEWEST_START_TRIES: Final = 60
_LEAST_START_S: Final = 300
_FEWEST_LIVE_TRIES: Final = 3
_LEAST_LIVE_S: Final = 30
"""How long a pod may say nothing before it is killed: whoever computes on every processor answers late."""
_LEAST_ANSWER_S: Final = 2
"""A model at work on every processor may need as long to say that it lives."""
_AFTER_PRE_STOP_S: Final = 5
_LOWEST_PORT: Final = 1024
_SPREADS: Final = frozenset({"kubernetes.io/hostname", "topology.kubernetes.io/zone"})

_OFFLINE: Final = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
_OFFLINE_OF: Final = {
    "task": {"BENTOML_DO_NOT_TRACK": "True", "TRANSFORMERS_OFFLINE": "1"},
    "page": {"GRADIO_ANALYTICS_ENABLED": "False"},
}


def _image(pod: Pod) -> Iterable[str]:
    images = [each.get("image", "") for each in pod.containers]
    images += [each.get("reference", "") for each in _mounted(pod).values()]
    return (
        f"the image `{image}` is not pinned by a tag and a digest" for image in images if not _PINNED.fullmatch(image)
    )


def _pull(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        if container.get("imagePullPolicy") != "Always":
            yield f"container `{container['name']}` runs what the node has, also for those who may not fetch it"
    for name, image in _mounted(pod).items():
        if image.get("pullPolicy") != "Always":
            yield f"volume `{name}` shows what the node has, also to those who may not fetch it"


def _mounted(pod: Pod) -> dict[str, dict[str, Any]]:
    """The images that are volumes, by the volumes' names."""
    return {each["name"]: each["image"] for each in pod.spec.get("volumes", ()) if "image" in each}


def _resources(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        given = container.get("resources", {})
        for name in _COUNTED:
            request, limit = (given.get(each, {}).get(name) for each in ("requests", "limits"))
            if request is None or limit is None:
                yield f"container `{container['name']}` has no {'request' if request is None else 'limit'} of {name}"
            else:
                yield from (f"container `{container['name']}` {each}" for each in _amounts(name, request, limit))


def _amounts(name: str, request: str | int, limit: str | int) -> Iterator[str]:
    try:
        if not amount(request) > 0:
            yield f"asks for no {name}"
        elif amount(request) > amount(limit):
            yield f"asks for more {name} than it may use"
    except ValueError as error:
        yield f"has a wrong amount of {name}: {error}"


def _memory(pod: Pod) -> Iterable[str]:
    return (
        f"container `{each['name']}` may use more memory than it asked for, and be killed for it"
        for each in pod.containers
        if _amount_of(each, "requests", "memory") != _amount_of(each, "limits", "memory")
    )


def _amount_of(container: Container, of: str, name: str) -> Any:
    return container.get("resources", {}).get(of, {}).get(name)


def _gpu(pod: Pod) -> Iterator[str]:
    """GPUs are what has a vendor's name."""
    tolerated = {each.get("key") for each in pod.spec.get("tolerations", ())}
    asked: set[str] = set()
    for container in pod.containers:
        limits, requests = (container.get("resources", {}).get(each, {}) for each in ("limits", "requests"))
        names = {name for name in (*limits, *requests) if "/" in name}
        asked |= names
        for name in sorted(names):
            if limits.get(name) != requests.get(name):
                yield f"container `{container['name']}` asks for another number of {name} than it may use"
    for name in sorted(asked - tolerated):
        yield f"its pods ask for {name}, and may not run where that is"
    for name in sorted({each for each in tolerated - asked if each is None or "/gpu" in each}, key=str):
        yield f"its pods may run on nodes that are kept for {name or 'others'}, and do not ask for that"


def _probes(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        probes = {each: container.get(each, {}) for each in _PROBES}
        named = {port.get("name") for port in container.get("ports", ())}
        for probe, given in probes.items():
            if not isinstance(port := given.get("httpGet", {}).get("port"), str) or port not in named:
                yield f"`{probe}` asks no named port over HTTP"
            if given.get("timeoutSeconds", 1) < _LEAST_ANSWER_S:
                yield f"`{probe}` gives up after a second"
        start, ready, live = (given.get("httpGet", {}).get("path") for given in probes.values())
        if start != ready:
            yield "`startupProbe` and `readinessProbe` ask for different things"
        if live == ready:
            yield "`livenessProbe` asks what `readinessProbe` asks, so a pod that drains is killed"
        if not _is_patient(probes["startupProbe"], _FEWEST_START_TRIES, _LEAST_START_S):
            yield f"`startupProbe` gives up before {_FEWEST_START_TRIES} tries in {_LEAST_START_S} s"
        if not _is_patient(probes["livenessProbe"], _FEWEST_LIVE_TRIES, _LEAST_LIVE_S):
            yield f"`livenessProbe` gives up before {_FEWEST_LIVE_TRIES} tries in {_LEAST_LIVE_S} s"


def _is_patient(probe: dict[str, Any], fewest_tries: int, least_s: int) -> bool:
    tries: int = probe.get("failureThreshold", 3)
    return tries >= fewest_tries and tries * probe.get("periodSeconds", 10) >= least_s


def _probe_host(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        hooks = {**{each: container.get(each, {}) for each in _PROBES}, **container.get("lifecycle", {})}
        for name, hook in hooks.items():
            asked = {key for action in ("httpGet", "tcpSocket") for key in hook.get(action) or ()}
            if "host" in asked:
                yield f"`{name}` makes the node ask any host"
            if "httpHeaders" in asked:
                yield f"`{name}` says more than what it asks for"


def _leaving(pod: Pod) -> Iterator[str]:
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    for container in pod.containers:
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not sleep:
            yield f"container `{container['name']}` stops while requests still come to it"
        elif grace < sleep + _AFTER_PRE_STOP_S:
            yield f"its pods are killed {grace} s after they are asked to go, of which they sleep {sleep}"


def _ports(pod: Pod) -> Iterator[str]:
    ports = [port for container in pod.containers for port in container.get("ports", ())]
    names = [port.get("name") for port in ports]
    for port in ports:
        if port["containerPort"] < _LOWEST_PORT:
            yield f"port {port['containerPort']} may be opened by root alone"
        if port.get("name") is None or names.count(port["name"]) > 1:
            yield f"port {port['containerPort']} has no name of its own"


def _variables(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        names = [each["name"] for each in container.get("env", ())]
        for name in sorted({each for each in names if names.count(each) > 1}):
            yield f"the variable {name} is said twice"


def _spread(pod: Pod) -> Iterator[str]:
    constraints = pod.spec.get("topologySpreadConstraints", ())
    ours = {each["topologyKey"] for each in constraints if picks(each.get("labelSelector", {}), pod.labels)}
    for missing in sorted(_SPREADS - ours):
        yield f"its pods may all be in one place (`{missing}`)"


def _offline(objects: Objects) -> Iterator[Problem]:
    for pod in objects.pods:
        wanted = _OFFLINE | _OFFLINE_OF.get(pod.kind or "", {})
        for container in pod.containers:
            told = objects.variables(container)
            for name in sorted(name for name, value in wanted.items() if told.get(name) != value):
                yield pod.owner, f"container `{container['name']}` is not told {name}={wanted[name]}"


RULES: Final = (
    Rule("image", "name it as `NAME:TAG@sha256:DIGEST`", of_pods(_image), has_exceptions=True, only_by_hand=True),
    Rule(
        "pull",
        "`imagePullPolicy: Always`, and `pullPolicy: Always` of an image volume",
        of_pods(_pull),
        has_exceptions=True,
        only_by_hand=True,
    ),
    Rule("resources", "give `requests` and `limits`, the first not above the second", of_pods(_resources)),
    Rule("memory", "let request and limit of memory be equal", of_pods(_memory)),
    Rule("gpu", "let requests, limits and tolerations name the same GPUs", of_pods(_gpu)),
    Rule("probes", "ask /readyz at first and then, and /livez, at a named port", of_pods(_probes)),
    Rule("probe-host", "leave `host` and `httpHeaders` out: a pod is asked at its own address", of_pods(_probe_host)),
    Rule("leaving", "a `preStop` sleep, and a grace that is longer than it", of_pods(_leaving)),
    Rule("ports", f"name each port, of {_LOWEST_PORT} or more", of_pods(_ports)),
    Rule("variables", "say each once", of_pods(_variables)),
    Rule("spread", "spread its pods over hosts and zones", of_pods(_spread)),
    Rule("offline", "leave these variables as they are", _offline),
)
