"""Who may speak to whom: nobody, but page to router, router to tasks, and each of them to the cluster's DNS."""

from typing import Any, Final

from infra.kubernetes.objects import Manifest, manifest, pods_of
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload

Peer = dict[str, Any]

_DNS_PEERS: Final[list[Peer]] = [
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    {"ipBlock": {"cidr": "169.254.20.10/32"}},  # where a node has a cache of its own
]
_DNS: Final = {"to": _DNS_PEERS, "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def deny_all(export: Export) -> Manifest:
    """For every pod of the namespace, also for those that somebody else puts there."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", export, "deny-all", spec=spec)


def traffic(export: Export, workload: Workload) -> Manifest:
    """What one workload may take and send."""
    callers = [{"podSelector": pods_of(export, other)} for other in export.callers_of(workload)]
    called = [other for other in export.workloads if other.name in workload.calls]
    spec = {
        "podSelector": pods_of(export, workload),
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": callers, "ports": [_port(PORT)]}] if callers else [],
        "egress": [
            _DNS,
            *({"to": [{"podSelector": pods_of(export, other)}], "ports": [_port(other.port)]} for other in called),
            *({"ports": [_port(port)]} for port in sorted(workload.reaches)),
        ],
    }
    return manifest("networking.k8s.io/v1", "NetworkPolicy", export, workload.name, workload, spec=spec)


def admit(export: Export, workload: Workload, name: str, peer: Peer | None) -> Manifest:
    """Let somebody else in at its port; None: anybody, as whatever stands before a cluster has no labels."""
    rule: dict[str, Any] = {"ports": [_port(PORT)]}
    if peer is not None:
        rule["from"] = [peer]
    spec = {"podSelector": pods_of(export, workload), "policyTypes": ["Ingress"], "ingress": [rule]}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", export, name, workload, spec=spec)


def pods_named(name: str) -> Peer:
    """Pods of a well-known application, wherever it is installed."""
    return {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
    }


def _port(port: int | str) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
