"""Who may speak to whom: nobody, but page to router, router to tasks, and each of them to the cluster's DNS."""

from typing import Any, Final

from infra.kubernetes.objects import Manifest, manifest, pods_of
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload

Peer = dict[str, Any]

_NAMESPACE: Final = "kubernetes.io/metadata.name"
"""The label by which every namespace has its name."""
_DNS_PORT: Final = 53
_OPENSHIFT_DNS_PORT: Final = 5353
_DNS_PEERS: Final[list[Peer]] = [
    *(
        {
            "namespaceSelector": {"matchLabels": {_NAMESPACE: "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": name}},
        }
        for name in ("kube-dns", "node-local-dns")
    ),
    {"ipBlock": {"cidr": "169.254.0.0/16"}},  # of a cache on the node itself, or of a cloud that has no such pods
]
_OPENSHIFT_DNS: Final[Peer] = {
    "namespaceSelector": {"matchLabels": {_NAMESPACE: "openshift-dns"}},
    "podSelector": {"matchLabels": {"dns.operator.openshift.io/daemonset-dns": "default"}},
}


def deny_all(export: Export) -> Manifest:
    """For every pod of the namespace, also for those that somebody else puts there."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", export, "deny-all", spec=spec)


def ask_dns(export: Export) -> Manifest:
    """For every pod; one object, so that a cluster that keeps its DNS elsewhere changes one."""
    rules = [
        {"to": _DNS_PEERS, "ports": _dns_ports(_DNS_PORT)},
        {"to": [_OPENSHIFT_DNS], "ports": _dns_ports(_OPENSHIFT_DNS_PORT)},
    ]
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", export, "dns", spec=spec)


def _dns_ports(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": protocol} for protocol in ("UDP", "TCP")]


def traffic(export: Export, workload: Workload) -> Manifest:
    """What one workload may take and send beside questions to the cluster's DNS."""
    callers = [{"podSelector": pods_of(export, other)} for other in export.callers_of(workload)]
    called = [other for other in export.workloads if other.name in workload.calls]
    spec = {
        "podSelector": pods_of(export, workload),
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": callers, "ports": [_port(PORT)]}] if callers else [],
        "egress": [
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


def pods_named(name: str, namespace: str) -> Peer:
    """Pods of a well-known application, in the namespace where most clusters have it: a name alone anybody may take."""
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
    }


def _port(port: int | str) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
