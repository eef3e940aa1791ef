"""How services are found, inside and from outside: selectors, ports, routes, and what guards them."""

from collections.abc import Iterator
from typing import Any, Final

from infra.policy.network import backends
from infra.policy.objects import Manifest, Objects, Pod, annotations_of, labels_of, name_of, picks
from infra.policy.rules import REASON, Problem, Rule, of_each

TOKEN_VARIABLE: Final = f"{REASON}token-variable"
"""An annotation of a router's Deployment: the variable by which it is told the token that it asks for."""

_OPEN: Final = ("router", "page")
"""What may be reached from outside."""


def _selectors(objects: Objects) -> Iterator[Problem]:
    for deployment in objects.of("Deployment"):
        picked = objects.selected(deployment["spec"]["selector"])
        if [pod.owner for pod in picked] != [deployment]:
            yield deployment, "its selector does not pick its own pods and no others"
    for service in objects.of("Service"):
        if len(objects.selected(_selector(service))) != 1:
            yield service, "its selector does not pick the pods of one workload"
    for policy in objects.of("NetworkPolicy"):
        if not objects.selected(policy["spec"]["podSelector"]):
            yield policy, "it is about no pod"
    for monitor in objects.of("ServiceMonitor"):
        watched = [each for each in objects.of("Service") if picks(monitor["spec"]["selector"], labels_of(each))]
        ports = {port["name"] for each in watched for port in each["spec"]["ports"]}
        if not {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports:
            yield monitor, "it watches a Service or a port that is not here"


def _selector(service: Manifest) -> dict[str, Any] | None:
    labels = service["spec"].get("selector")
    return {"matchLabels": labels} if labels else None


def _target_ports(objects: Objects) -> Iterator[Problem]:
    for service in objects.of("Service"):
        pods = objects.selected(_selector(service))
        named = {port.get("name") for pod in pods for each in pod.containers for port in each.get("ports", ())}
        for port in service["spec"]["ports"]:
            if port.get("targetPort") not in named:
                yield service, f"its pods have no port `{port.get('targetPort', port['port'])}`"


def _cluster_ip(objects: Objects) -> Iterator[Problem]:
    for service in objects.of("Service"):
        spec = service["spec"]
        if spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs") or spec.get("externalName"):
            yield service, "it can be reached from outside of the cluster, past every route"


def _routes(objects: Objects) -> Iterator[Problem]:
    for route, name, port in backends(objects):
        service = objects.find("Service", name)
        ports = (
            [value for each in service["spec"]["ports"] for value in (each["name"], each["port"])] if service else []
        )
        if port not in ports:
            yield route, f"it leads to port {port} of the Service `{name}`, which is not here"
        if service and any(pod.kind not in _OPEN for pod in objects.selected(_selector(service))):
            yield route, f"it leads to `{name}`, which asks nobody who it is"
    for route in objects.of("HTTPRoute"):
        yield from ((route, problem) for problem in _attached(objects, route))
    yield from of_each(_listeners, "Gateway")(objects)


def _attached(objects: Objects, route: Manifest) -> Iterator[str]:
    rules = route["spec"]["rules"]
    if any("filters" in each for rule in rules for each in (rule, *rule.get("backendRefs", ()))):
        yield "it has filters, which may send requests elsewhere"
    answered = set()
    for parent in route["spec"].get("parentRefs", ({},)):
        gateway = objects.find("Gateway", parent.get("name")) if "namespace" not in parent else None
        listeners = {each["name"]: each.get("hostname") for each in gateway["spec"]["listeners"]} if gateway else {}
        if parent.get("sectionName") not in listeners:
            yield "it belongs to no listener of a Gateway that is here"
        else:
            answered.add(listeners[parent["sectionName"]])
    for name in route["spec"].get("hostnames", ()):
        if name not in answered and None not in answered:
            yield f"none of its listeners is for {name}"


def _listeners(gateway: Manifest) -> Iterator[str]:
    for listener in gateway["spec"]["listeners"]:
        if listener.get("allowedRoutes", {}).get("namespaces", {}).get("from", "Same") != "Same":
            yield f"its listener `{listener['name']}` takes routes of other namespaces"


def _tls(objects: Objects) -> Iterator[Problem]:
    for gateway in objects.of("Gateway"):
        for listener in gateway["spec"]["listeners"]:
            if listener["protocol"] != "HTTPS" or not listener.get("tls", {}).get("certificateRefs"):
                yield gateway, f"its listener `{listener['name']}` has no certificate"
    for ingress in objects.of("Ingress"):
        certificates = [each for each in ingress["spec"].get("tls", ()) if each.get("secretName")]
        covered = {host for each in certificates for host in each.get("hosts", (None,))}
        for rule in ingress["spec"].get("rules", ()):
            if rule.get("host") not in covered:
                yield ingress, f"there is no certificate for {rule.get('host', 'it')}"


def _guarded(objects: Objects) -> Iterator[Problem]:
    """Whoever asks for a token says by which variable, and has been given that as a secret."""
    doors = {(route["kind"], name_of(route)): route for route, _, _ in backends(objects)}
    if not all(_has_token(pod) for pod in objects.pods if pod.kind == "router"):
        for route in doors.values():
            yield route, "it leads to a router that asks nobody for a token"


def _has_token(router: Pod) -> bool:
    variable = annotations_of(router.owner).get(TOKEN_VARIABLE)
    given = [each for container in router.containers for each in container.get("env", ()) if each["name"] == variable]
    keys = [each.get("valueFrom", {}).get("secretKeyRef", {}) for each in given]
    return bool(keys) and all(key.get("key") and not key.get("optional") for key in keys)


RULES: Final = (
    Rule("selectors", "select by labels that the pods have", _selectors),
    Rule("target-ports", "name a port of the container", _target_ports),
    Rule("cluster-ip", "`type: ClusterIP`", _cluster_ip),
    Rule("routes", "name a Service and a Gateway of the export", _routes),
    Rule("tls", "name the Secret with a certificate", _tls),
    Rule("token", "set `controller.auth.token` in the file", _guarded, has_exceptions=True),
)
