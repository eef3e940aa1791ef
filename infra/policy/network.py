"""Who may speak to whom: page to router to tasks, all of them to the cluster's DNS, and nobody else."""

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

from infra.policy.objects import APPLICATION, Manifest, Objects, Pod, allowed, name_of
from infra.policy.rules import Problem, Rule

_CALLS: Final = {"page": frozenset({"router"}), "router": frozenset({"task"}), "task": frozenset[str]()}
_DNS: Final = 53
_DNS_PORTS: Final = frozenset({_DNS, 5353})
"""Pods of OpenShift's DNS have another port than the Service before them."""
_NAMESPACE: Final = "kubernetes.io/metadata.name"
_USUAL_DNS: Final = "kube-dns"
_DNS_PODS: Final = frozenset({_USUAL_DNS, "node-local-dns"})
_LINK_LOCAL: Final = ipaddress.IPv4Network("169.254.0.0/16")
"""Where a node has a cache of its own, or a cloud its DNS."""
_GUESTS: Final = {"task": {"prometheus"}, "router": {"prometheus", "keda-operator"}}
"""Of which applications elsewhere in the cluster the pods may come in, from a namespace that is named as well."""
_SIDES: Final = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}
_Link = tuple[str, str]


def _policies(objects: Objects, pod: Pod, side: str) -> list[Manifest]:
    return [
        policy
        for policy in objects.of("NetworkPolicy")
        if side in policy["spec"].get("policyTypes", ()) and pod in objects.selected(policy["spec"]["podSelector"])
    ]


def _closed(objects: Objects) -> Iterator[Problem]:
    for pod in objects.pods:
        own = [policy for side in _SIDES for policy in _policies(objects, pod, side) if policy["spec"]["podSelector"]]
        sides = {side for policy in own for side in policy["spec"]["policyTypes"]}
        for side in sorted(_SIDES.keys() - sides):
            yield pod.owner, f"no NetworkPolicy of its own says what its pods may {_word(side)}"
    walls = [policy["spec"] for policy in objects.of("NetworkPolicy") if not policy["spec"]["podSelector"]]
    is_walled = any(
        set(wall.get("policyTypes", ())) == set(_SIDES) and not wall.get("ingress") and not wall.get("egress")
        for wall in walls
    )
    for namespace in objects.of("Namespace"):
        if not is_walled:
            yield namespace, "pods that no NetworkPolicy names may speak to everybody"


def _word(side: str) -> str:
    return "take" if side == "Ingress" else "send"


def _ports(objects: Objects) -> Iterator[Problem]:
    for policy in objects.of("NetworkPolicy"):
        for side, (rules, _) in _SIDES.items():
            for rule in policy["spec"].get(rules) or ():
                ports = rule.get("ports") or [{}]
                if any("port" not in port or "endPort" in port for port in ports):
                    yield policy, f"its pods may {_word(side)} at every port, or at many"


def _in(objects: Objects) -> Iterator[Problem]:
    """Peers of our own are looked at by `links`."""
    opened = {name_of(pod.owner) for pod in _opened(objects)}
    for policy in objects.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or ():
            for pod in objects.selected(policy["spec"]["podSelector"]):
                if not rule.get("from") and name_of(pod.owner) not in opened:
                    yield policy, "it lets everybody in, though no route leads there"
                for peer in rule.get("from") or ():
                    guests = allowed(peer.get("podSelector"), APPLICATION)
                    is_known = guests and guests <= _GUESTS.get(pod.kind or "", frozenset())
                    is_guest = is_known and allowed(peer.get("namespaceSelector"), _NAMESPACE)
                    if not _is_ours(objects, peer) and not is_guest:
                        who = " or ".join(sorted(guests)) or "whoever has an address"
                        yield policy, f"it lets in {who}, who has nothing to ask there"


def _out(objects: Objects) -> Iterator[Problem]:
    for policy in objects.of("NetworkPolicy"):
        kinds = {pod.kind for pod in objects.selected(policy["spec"]["podSelector"])}
        for rule in policy["spec"].get("egress") or ():
            ports, peers = {port.get("port") for port in rule.get("ports", ())}, rule.get("to") or [{}]
            if all(ports <= _asked_of_dns(peer) for peer in peers):
                continue
            if ports & _DNS_PORTS:
                yield policy, "it lets its pods ask another DNS than the cluster's"
            elif kinds != {"router"} and not all(_is_ours(objects, peer) for peer in peers):
                yield policy, "it lets pods out that have nobody to ask outside"


def _is_ours(objects: Objects, peer: dict[str, Any]) -> bool:
    is_near = peer.keys() == {"podSelector"}
    return is_near and bool(objects.selected(peer["podSelector"]))


def _asked_of_dns(peer: dict[str, Any]) -> frozenset[int]:
    """The ports at which it answers, if it is one of the places where clusters have their DNS."""
    if "ipBlock" in peer:
        block = ipaddress.ip_network(peer["ipBlock"]["cidr"], strict=False)
        is_near = isinstance(block, ipaddress.IPv4Network) and block.subnet_of(_LINK_LOCAL)
        return frozenset({_DNS} if is_near else ())
    namespaces = allowed(peer.get("namespaceSelector"), _NAMESPACE)
    pods = allowed(peer.get("podSelector"), "k8s-app")
    if namespaces == {"kube-system"} and pods and pods <= _DNS_PODS:
        return frozenset({_DNS})
    return _DNS_PORTS if namespaces == {"openshift-dns"} else frozenset()


def _is_usual_dns(peer: dict[str, Any]) -> bool:
    return bool(_asked_of_dns(peer)) and _USUAL_DNS in allowed(peer.get("podSelector"), "k8s-app")


def _resolves(objects: Objects) -> Iterator[Problem]:
    for pod in objects.pods:
        rules = [rule for policy in _policies(objects, pod, "Egress") for rule in policy["spec"].get("egress") or ()]
        asked = {
            port.get("protocol")
            for rule in rules
            if any(_is_usual_dns(peer) for peer in rule.get("to") or ())
            for port in rule.get("ports", ())
            if port.get("port") == _DNS
        }
        if asked != {"TCP", "UDP"}:
            yield pod.owner, "its pods may not ask the cluster's DNS"


def _links(objects: Objects) -> Iterator[Problem]:
    """What one side may send, the other one must take, and it must be what such services ask of each other."""
    sent, taken = _linked(objects, "Egress"), {(caller, called) for called, caller in _linked(objects, "Ingress")}
    pods = {name_of(pod.owner): pod for pod in objects.pods}
    for caller, called in sorted(sent ^ taken):
        side = "taken" if (caller, called) in sent else "sent"
        yield pods[caller].owner, f"what it asks of `{called}` may not be {side}"
    for caller, called in sorted(sent | taken):
        if pods[called].kind not in _CALLS.get(pods[caller].kind or "", ()):
            yield pods[caller].owner, f"it may speak to `{called}`, which it has nothing to ask"
    for name, pod in pods.items():
        wanted = _CALLS.get(pod.kind or "", frozenset())
        if wanted and not {pods[called].kind for caller, called in sent if caller == name} >= wanted:
            yield pod.owner, f"it may speak to no {' or '.join(sorted(wanted))}"


def _linked(objects: Objects, side: str) -> set[_Link]:
    """Pairs of owners' names: whose policies they are, and who is on the other side."""
    rules, peers = _SIDES[side]
    return {
        (name_of(pod.owner), name_of(other.owner))
        for pod in objects.pods
        for policy in _policies(objects, pod, side)
        for rule in policy["spec"].get(rules) or ()
        for peer in rule.get(peers) or ()
        if "namespaceSelector" not in peer
        for other in objects.selected(peer.get("podSelector"))
    }


def _opened(objects: Objects) -> list[Pod]:
    """The pods that a route leads to."""
    services = {name for _, name, _ in backends(objects)}
    found = [objects.find("Service", name) for name in services if name is not None]
    return [pod for each in found if each for pod in objects.selected({"matchLabels": each["spec"].get("selector")})]


def backends(objects: Objects) -> Iterator[tuple[Manifest, str | None, str | int | None]]:
    """Of each route where it leads: the Service's name and its port; None for what is no Service of its namespace."""
    for route in objects.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", ()):
                is_near = backend.keys() <= {"name", "port", "weight"}
                yield route, backend["name"] if is_near else None, backend.get("port")
    for ingress in objects.of("Ingress"):
        spec = ingress["spec"]
        found = [path["backend"] for rule in spec.get("rules", ()) for path in rule.get("http", {}).get("paths", ())]
        for backend in [*found, *([spec["defaultBackend"]] if "defaultBackend" in spec else [])]:
            service = backend.get("service") or {"name": None, "port": {}}
            yield ingress, service["name"], service["port"].get("name") or service["port"].get("number")


RULES: Final = (
    Rule("network-closed", "a policy that denies all, and one for each workload", _closed),
    Rule("network-ports", "name each port", _ports),
    Rule("network-in", "name the pods that may come in", _in),
    Rule("network-out", "let tasks and page ask nobody but DNS, page and router what they are for", _out),
    Rule("network-dns", "allow port 53 by UDP and TCP", _resolves),
    Rule("network-links", "page to router, router to tasks, the same on both sides", _links),
)
