"""The way in from outside: by the Gateway API, or by an Ingress; both with TLS, and both to router and page alone."""

from typing import Any, Final

from infra.kubernetes.exceptions import of_door
from infra.kubernetes.network import admit
from infra.kubernetes.objects import Manifest, manifest
from infra.kubernetes.pods import PORT
from infra.kubernetes.workload import Export, Workload

GATEWAY_CLASS: Final = "model-compose"
"""Clusters name theirs as they like; an overlay of the user's says which one."""
_MOST_NAMES: Final = 16
"""What one HTTPRoute takes."""
_ANY_NAME: Final = "https"
"""The listener where the file has no names."""
_ROOTS: Final = ("/v1", "/docs", "/openapi.json")
"""What the router answers outside of its `base_path`, for clients: no metrics, no probes."""
_LONG_S: Final = 3_600
"""What an answer may take at a door that has a time limit of its own: models write for minutes."""


def tls_secret(export: Export) -> str:
    """The name of the Secret with the certificate, which the user or a tool such as cert-manager makes."""
    return f"{export.name}-tls"


def gateway(export: Export) -> Manifest:
    """With a listener for each name, from which tools such as cert-manager learn what a certificate is for."""
    listeners = [_listener(export, host) for host in export.hosts or (None,)]
    spec = {"gatewayClassName": GATEWAY_CLASS, "listeners": listeners}
    return manifest("gateway.networking.k8s.io/v1", "Gateway", export, export.name, spec=spec)


def _listener(export: Export, host: str | None) -> dict[str, Any]:
    listener: dict[str, Any] = {
        "name": host or _ANY_NAME,
        "port": 443,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": tls_secret(export)}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    return {**listener, "hostname": host} if host else listener


def http_routes(export: Export) -> list[Manifest]:
    """One for each 16 names, as one takes no more."""
    parts = [export.hosts[at : at + _MOST_NAMES] for at in range(0, len(export.hosts), _MOST_NAMES)]
    names = [export.name, *(f"{export.name}-{number}" for number in range(2, len(parts) + 1))]
    return [_http_route(export, name, hosts) for name, hosts in zip(names, parts or [()], strict=True)]


def _http_route(export: Export, name: str, hosts: tuple[str, ...]) -> Manifest:
    spec: dict[str, Any] = {
        "parentRefs": [{"name": export.name, "sectionName": listener} for listener in hosts or (_ANY_NAME,)],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in paths],
                "backendRefs": [{"name": workload.name, "port": workload.port}],
                "timeouts": {"request": "0s"},  # no limit: the router has its own
            }
            for workload, paths in _doors(export)
        ],
    }
    if hosts:
        spec["hostnames"] = list(hosts)
    return manifest("gateway.networking.k8s.io/v1", "HTTPRoute", export, name, annotations=of_door(export), spec=spec)


def ingress(export: Export) -> Manifest:
    paths = [
        {
            "path": path,
            "pathType": "Prefix",
            "backend": {"service": {"name": workload.name, "port": {"name": PORT}}},
        }
        for workload, paths in _doors(export)
        for path in paths
    ]
    rules: list[dict[str, Any]] = [{"host": host, "http": {"paths": paths}} for host in export.hosts]
    tls: dict[str, Any] = {"secretName": tls_secret(export)}
    if export.hosts:
        tls["hosts"] = list(export.hosts)
    annotations = {
        **of_door(export),
        "nginx.ingress.kubernetes.io/proxy-body-size": "0",  # no limit: router and page have theirs, 1m is below them
        "nginx.ingress.kubernetes.io/proxy-buffering": "off",  # an answer is read while it is written
        "nginx.ingress.kubernetes.io/proxy-read-timeout": str(_LONG_S),
        "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",  # so that what is too large is refused at once
        "nginx.ingress.kubernetes.io/ssl-redirect": "true",
    }
    spec = {"rules": rules or [{"http": {"paths": paths}}], "tls": [tls]}
    return manifest("networking.k8s.io/v1", "Ingress", export, export.name, annotations=annotations, spec=spec)


def _doors(export: Export) -> list[tuple[Workload, tuple[str, ...]]]:
    """Which paths lead where; without a page the rest leads nowhere."""
    base = (export.base_path,) if export.base_path else ()
    found = [(export.router, (*base, *_ROOTS) if base else ("/",))]
    return [*found, *((workload, ("/",)) for workload in export.workloads if workload.kind == "page" and base)]


def admit_outside(export: Export) -> list[Manifest]:
    """Whatever stands before the cluster may have no address that a policy knows."""
    return [admit(export, workload, f"{workload.name}-from-outside", None) for workload, _ in _doors(export)]
