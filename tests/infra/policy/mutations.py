"""One change to an export for each way to break a rule, and which rules see it."""

import copy
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from infra.kubernetes.objects import Manifest
from infra.kubernetes.rendering import rendered, rendered_with
from infra.kubernetes.tree import PROD, folders
from tests.infra.kubernetes.examples import export

GONE: Final = object()

SETTINGS: Final = "ConfigMap/router-[0-9a-f]{10}"
READER: Final = "Deployment/task-reader"
WRITER: Final = "Deployment/task-writer-0e3c5fe0"
ROUTER: Final = "Deployment/router"
POD: Final = "spec template spec"
CONTAINER: Final = f"{POD} containers 0"
SECURITY: Final = f"{CONTAINER} securityContext"
LABELS: Final = "metadata labels"
COMPONENT: Final = "app.kubernetes.io/component"
PORT: Final = [{"port": "http", "protocol": "TCP"}]
DNS: Final = [{"port": 53, "protocol": "UDP"}]
ROUTE: Final = "spec rules 0"


HEADERS: Final = [{"name": "Authorization", "value": "Bearer abc"}]
SELECTOR: Final = {"matchLabels": {"app.kubernetes.io/name": "task-reader"}}
EVERYBODY: Final = {"cidr": "0.0.0.0/0"}
METADATA: Final = {"cidr": "169.254.169.254/32"}
MIRROR: Final = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "task-reader", "port": 3000}}}
APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io"
TOKEN: Final = {"serviceAccountToken": {"path": "token"}}


@dataclass(frozen=True)
class Mutation:
    """rules: the names of those that see it. where: an object as `Kind/name`, of another example after its
    name and a colon.

    path: its keys with spaces between; things in a list by their place or name. Without one the object is gone, or
    there is another one, which is the value.
    """

    rules: str
    where: str
    path: str
    value: Any = GONE

    def __str__(self) -> str:
        return f"{self.rules.replace(' ', '+')}-{self.where.partition('/')[0]}-{self.path.split()[-1:] or 'gone'}"

    @property
    def example(self) -> str:
        return self.where.rpartition(":")[0] or "shop"


def _to(peer: dict[str, Any], *ports: dict[str, Any]) -> dict[str, Any]:
    return {"to": [peer], "ports": [{"protocol": "TCP", **port} for port in ports]}


def _component(operator: str, *values: str) -> dict[str, Any]:
    return {"podSelector": {"matchExpressions": [{"key": COMPONENT, "operator": operator, "values": [*values]}]}}


def _stranger(api_version: str, kind: str, **rest: Any) -> dict[str, Any]:
    """Another object, with the labels that it takes."""
    names = {f"app.kubernetes.io/{name}": "shop" for name in ("name", "instance", "part-of", "managed-by")}
    metadata = {"name": "stranger", "namespace": "shop", "labels": names}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _job() -> dict[str, Any]:
    """With a container that may do everything."""
    pod = {"spec": {"containers": [{"name": "job", "securityContext": {"privileged": True}}]}}
    return _stranger("batch/v1", "CronJob", spec={"schedule": "@daily", "jobTemplate": {"spec": {"template": pod}}})


def _mounted(reference: str, pull: str) -> dict[str, Any]:
    return {"name": "weights", "image": {"reference": reference, "pullPolicy": pull}}


MUTATIONS: Final = [
    # naming
    Mutation("names", "TriggerAuthentication/shop", "metadata name", "Shop_1"),
    Mutation("names routes network-in", "Service/page", "metadata name", "a" * 64),
    Mutation("unique", "PodDisruptionBudget/router", "metadata name", "page"),
    Mutation("namespace", "Service/router", "metadata namespace"),
    Mutation("namespace", "Service/router", "metadata namespace", "default"),
    Mutation("kinds network-in", "HTTPRoute/shop", "kind", "GRPCRoute"),
    Mutation("kinds", "HTTPRoute/shop", "apiVersion", "gateway.networking.k8s.io/v1alpha2"),
    Mutation("kinds", "CronJob/stranger", "", _job()),
    Mutation("unread", "ConfigMap/stranger", "", _stranger("v1", "ConfigMap", data={})),
    Mutation("secrets", "Secret/stranger", "", _stranger("v1", "Secret", stringData={"word": "guess"})),
    Mutation("labels", "Service/page", f"{LABELS} app.kubernetes.io/part-of"),
    Mutation("labels", READER, f"spec template {LABELS} app.kubernetes.io/version"),
    Mutation("labels", READER, f"{LABELS} app.kubernetes.io/version", "a b"),
    Mutation("secrets", READER, f"{CONTAINER} env 0", {"name": "READER_KEY", "value": "sentinel"}),
    Mutation("secrets", READER, f"{CONTAINER} env 0", {"name": "READER", "value": "https://me:sentinel@example.com"}),
    Mutation("secrets", READER, f"{CONTAINER} args", ["--token", f"hf_{34 * 'a'}"]),
    Mutation("secrets settings", SETTINGS, "data LOG", "postgresql://me:sentinel@db/shop"),
    Mutation("secrets", READER, f"{CONTAINER} envFrom 1", {"secretRef": {"name": "shop-secrets"}}),
    Mutation("secrets", READER, "metadata annotations", {"note": f"Bearer {34 * 'a'}"}),
    Mutation("secrets", "ScaledObject/task-writer-0e3c5fe0", "spec triggers 0 metadata url", "http://me:word@router/"),
    Mutation("settings", SETTINGS, "data LOG", "off"),
    Mutation("settings", SETTINGS, "immutable"),
    Mutation("offline settings", SETTINGS, ""),
    # security
    Mutation("admission", "Namespace/shop", f"{LABELS} pod-security.kubernetes.io/enforce", "baseline"),
    Mutation("admission", "Namespace/shop", f"{LABELS} pod-security.kubernetes.io/enforce-version", "v1.0"),
    Mutation("host-namespaces", READER, f"{POD} hostNetwork", True),
    Mutation("host-namespaces", READER, f"{POD} hostPID", True),
    Mutation("host-namespaces", READER, f"{POD} shareProcessNamespace", True),
    Mutation("host-ports", READER, f"{CONTAINER} ports 0 hostPort", 3000),
    Mutation("volumes writable", READER, f"{POD} volumes 0", {"name": "tmp", "hostPath": {"path": "/"}}),
    Mutation("volumes", READER, f"{POD} volumes 1", {"name": "token", "projected": {"sources": [TOKEN]}}),
    Mutation("volumes", READER, f"{POD} volumes 1", {"name": "unbounded"}),
    Mutation("privileged", READER, f"{SECURITY} privileged", True),
    Mutation("privileged", READER, f"{SECURITY} procMount", "Unmasked"),
    Mutation("privileged", READER, f"{POD} securityContext sysctls", [{"name": "net.core.somaxconn", "value": "1"}]),
    Mutation("privileged", READER, "spec template metadata annotations", {f"{APPARMOR}/task": "unconfined"}),
    Mutation("privileged", READER, f"{POD} securityContext appArmorProfile", {"type": "Unconfined"}),
    Mutation("fields", READER, f"{POD} priorityClassName", "system-node-critical"),
    Mutation("fields", READER, f"{POD} nodeName", "node"),
    Mutation("fields", READER, f"{CONTAINER} volumeDevices", [{"name": "tmp", "devicePath": "/dev/sda"}]),
    Mutation("fields", READER, f"{CONTAINER} livenessProbe terminationGracePeriodSeconds", 1),
    Mutation("fields", READER, f"{CONTAINER} volumeMounts 0 mountPropagation", "Bidirectional"),
    Mutation("user", READER, f"{POD} securityContext runAsUser", 0),
    Mutation("user", READER, f"{POD} securityContext runAsGroup", 0),
    Mutation("user", READER, f"{POD} securityContext runAsNonRoot", False),
    Mutation("user", READER, f"{POD} securityContext fsGroup", 0),
    Mutation("user", READER, f"{POD} securityContext supplementalGroups", [0]),
    Mutation("user", READER, f"{SECURITY} runAsUser", 0),
    Mutation("user", READER, f"{SECURITY} runAsGroup", 1000),
    Mutation("user", READER, f"{SECURITY} runAsNonRoot", False),
    Mutation("read-only-root", READER, f"{SECURITY} readOnlyRootFilesystem"),
    Mutation("writable", READER, f"{POD} volumes 0 emptyDir", {}),
    Mutation("writable", READER, f"{POD} volumes 0 emptyDir sizeLimit", "100Gi"),
    Mutation("writable", READER, f"{POD} volumes 0 emptyDir medium", "Memory"),
    Mutation("writable", READER, f"{CONTAINER} volumeMounts 0"),
    Mutation("writable", READER, f"{CONTAINER} volumeMounts 0 mountPath", "/opt"),
    Mutation("capabilities", READER, f"{SECURITY} capabilities drop", ["NET_RAW"]),
    Mutation("capabilities", READER, f"{SECURITY} capabilities add", ["NET_BIND_SERVICE"]),
    Mutation("escalation", READER, f"{SECURITY} allowPrivilegeEscalation"),
    Mutation("seccomp", READER, f"{SECURITY} seccompProfile type", "Unconfined"),
    Mutation("seccomp", READER, f"{POD} securityContext seccompProfile type", "Unconfined"),
    Mutation("account-token", READER, f"{POD} automountServiceAccountToken"),
    Mutation("account-token", "ServiceAccount/shop", "automountServiceAccountToken", True),
    Mutation("account", READER, f"{POD} serviceAccountName"),
    Mutation("cluster-rights kinds", "TriggerAuthentication/shop", "kind", "RoleBinding"),
    Mutation("service-links", READER, f"{POD} enableServiceLinks"),
    # running
    Mutation("image", READER, f"{CONTAINER} image", "registry.example.com/me/shop/reader:v1"),
    Mutation("image", READER, f"{CONTAINER} image", f"registry.example.com/me/shop/reader@sha256:{'1' * 64}"),
    Mutation("image", READER, f"{CONTAINER} image", f"registry.example.com/r:v1@sha256:{'1' * 64}0"),
    Mutation("pull", READER, f"{CONTAINER} imagePullPolicy", "IfNotPresent"),
    Mutation("image", READER, f"{POD} volumes 1", _mounted("registry.example.com/me/shop/weights:1", "Always")),
    Mutation(
        "pull", READER, f"{POD} volumes 1", _mounted(f"registry.example.com/w:1@sha256:{'1' * 64}", "IfNotPresent")
    ),
    Mutation("resources", READER, f"{CONTAINER} resources limits ephemeral-storage"),
    Mutation("resources", READER, f"{CONTAINER} resources requests cpu", "3"),
    Mutation("resources", READER, f"{CONTAINER} resources requests cpu", "0"),
    Mutation("resources", READER, f"{CONTAINER} resources requests ephemeral-storage", "1T"),
    Mutation("resources", READER, f"{CONTAINER} resources requests ephemeral-storage", "some"),
    Mutation("memory", READER, f"{CONTAINER} resources requests memory", "1Gi"),
    Mutation("gpu", WRITER, f"{POD} tolerations"),
    Mutation("gpu", WRITER, f"{CONTAINER} resources requests nvidia.com/gpu", "2"),
    Mutation("gpu", READER, f"{POD} tolerations", [{"key": "nvidia.com/gpu", "operator": "Exists"}]),
    Mutation("gpu", READER, f"{POD} tolerations", [{"operator": "Exists"}]),
    Mutation("probes", READER, f"{CONTAINER} startupProbe"),
    Mutation("probes", READER, f"{CONTAINER} startupProbe failureThreshold", 30),
    Mutation("probes", READER, f"{CONTAINER} startupProbe periodSeconds", 1),
    Mutation("probes", READER, f"{CONTAINER} livenessProbe failureThreshold", 1),
    Mutation("probes", READER, f"{CONTAINER} livenessProbe periodSeconds", 1),
    Mutation("probes", READER, f"{CONTAINER} readinessProbe httpGet port", 3000),
    Mutation("probes", READER, f"{CONTAINER} livenessProbe httpGet path", "/readyz"),
    Mutation("probes", READER, f"{CONTAINER} livenessProbe timeoutSeconds"),
    Mutation("probe-host", READER, f"{CONTAINER} readinessProbe httpGet host", "example.com"),
    Mutation("probe-host", READER, f"{CONTAINER} readinessProbe httpGet httpHeaders", HEADERS),
    Mutation("leaving", READER, f"{CONTAINER} lifecycle"),
    Mutation("leaving", READER, f"{POD} terminationGracePeriodSeconds", 10),
    Mutation("ports", READER, f"{CONTAINER} ports 0 containerPort", 80),
    Mutation("variables", ROUTER, f"{CONTAINER} env 0 name", "DATABASE_URL"),
    Mutation("spread", READER, f"{POD} topologySpreadConstraints"),
    Mutation("spread", READER, f"{POD} topologySpreadConstraints 0 labelSelector matchLabels {COMPONENT}", "page"),
    Mutation("offline", READER, f"{CONTAINER} env 0", {"name": "HF_HUB_OFFLINE", "value": "0"}),
    Mutation("offline", READER, f"{CONTAINER} env 0 name", "HF_HUB_OFFLINE"),
    Mutation("fields", READER, f"{CONTAINER} env 0 valueFrom", {"configMapKeyRef": {"name": "other", "key": "a"}}),
    # scaling
    Mutation("scaling-bounds", "HorizontalPodAutoscaler/router", "spec minReplicas", 1),
    Mutation("scaling-bounds", "HorizontalPodAutoscaler/router", "spec maxReplicas", 2),
    Mutation("scaling-bounds", "ScaledObject/task-writer-0e3c5fe0", "metadata annotations"),
    Mutation("replicas scaling-target", "HorizontalPodAutoscaler/router", "spec scaleTargetRef name", "nobody"),
    Mutation("replicas scaling-target", "HorizontalPodAutoscaler/router", "spec scaleTargetRef kind", "StatefulSet"),
    Mutation("scaling-target", READER, "spec replicas", 3),
    Mutation("replicas", "Deployment/page", "metadata annotations"),
    Mutation("replicas", "HorizontalPodAutoscaler/task-reader", ""),
    Mutation("evictions", "PodDisruptionBudget/task-reader", "spec maxUnavailable", 0),
    Mutation("evictions", "PodDisruptionBudget/task-reader", "spec maxUnavailable", "100%"),
    Mutation("evictions", "PodDisruptionBudget/task-reader", "spec unhealthyPodEvictionPolicy"),
    Mutation("evictions", "PodDisruptionBudget/task-reader", "spec", {"minAvailable": "99%", "selector": SELECTOR}),
    Mutation("evictions", "PodDisruptionBudget/page", "spec", {"minAvailable": 1, "selector": {"matchLabels": {}}}),
    Mutation("evictions", "PodDisruptionBudget/task-reader", ""),
    Mutation("rollout", READER, "spec strategy", {"type": "Recreate"}),
    Mutation("rollout", READER, "spec strategy rollingUpdate", {"maxSurge": 0, "maxUnavailable": "50%"}),
    Mutation("rollout", WRITER, "spec strategy rollingUpdate", {"maxSurge": 1, "maxUnavailable": 0}),
    Mutation("rollout", "quickstart:Deployment/router", "spec strategy type", "RollingUpdate"),
    Mutation("claims", "quickstart:PersistentVolumeClaim/router-runs", ""),
    # network
    Mutation("network-closed network-links", "NetworkPolicy/task-reader", ""),
    Mutation("network-closed", "NetworkPolicy/deny-all", ""),
    Mutation("network-ports", "NetworkPolicy/task-reader", "spec ingress 0 ports"),
    Mutation("network-ports", "NetworkPolicy/task-reader", "spec ingress 0 ports", [{"protocol": "TCP"}]),
    Mutation("network-ports", "NetworkPolicy/router", "spec egress 0 ports", [{"protocol": "TCP"}]),
    Mutation("network-ports", "NetworkPolicy/router", "spec egress 0 ports 0 endPort", 65535),
    Mutation("network-ports", "NetworkPolicy/dns", "spec egress 0 ports 0 endPort", 65535),
    Mutation("network-in network-links", "NetworkPolicy/task-reader", "spec ingress 0 from"),
    Mutation(
        "network-in network-links",
        "NetworkPolicy/task-reader",
        "spec ingress 0 from 0",
        {"ipBlock": {"cidr": "0.0.0.0/0"}},
    ),
    Mutation(
        "network-in network-links",
        "NetworkPolicy/task-reader",
        f"spec ingress 0 from 0 podSelector matchLabels {COMPONENT}",
        "x",
    ),
    Mutation("network-in", "NetworkPolicy/router-from-prometheus", "spec ingress 0 from 0 namespaceSelector", {}),
    Mutation("network-in", "NetworkPolicy/router-from-keda", "spec ingress 0 from 0 namespaceSelector"),
    Mutation("network-links", "NetworkPolicy/router", "spec egress 1"),
    Mutation("network-links", "NetworkPolicy/page", "spec egress 1", _to(_component("In", "task"), {"port": 3000})),
    Mutation("network-links", "NetworkPolicy/page", "spec egress 1", _to(_component("NotIn", "x"), {"port": 3000})),
    Mutation("network-out", "NetworkPolicy/task-reader", "spec egress 0", {"ports": PORT}),
    Mutation("network-out network-links", "NetworkPolicy/page", "spec egress 0 to"),
    Mutation("network-out", "NetworkPolicy/page", "spec egress 1", _to({"ipBlock": EVERYBODY}, {"port": 53})),
    Mutation("network-out", "NetworkPolicy/page", "spec egress 1", _to({"ipBlock": METADATA}, {"port": 80})),
    Mutation("network-out", "NetworkPolicy/page", "spec egress 1", _to({"namespaceSelector": {}}, {"port": 53})),
    Mutation("network-out", "NetworkPolicy/router", "spec egress 3", {"ports": DNS}),
    Mutation("network-out network-dns", "NetworkPolicy/dns", "spec egress 0 to", [{"ipBlock": EVERYBODY}]),
    Mutation("network-out network-dns", "NetworkPolicy/dns", "spec egress 0 to 0 podSelector", {}),
    Mutation("network-out network-dns", "NetworkPolicy/dns", "spec egress 0 to 0 namespaceSelector", {}),
    Mutation("network-out", "NetworkPolicy/dns", "spec egress 0 to 2 ipBlock cidr", "169.0.0.0/8"),
    Mutation("network-out network-dns", "NetworkPolicy/dns", "spec egress 0 ports 0 port", 5353),
    Mutation("network-dns", "NetworkPolicy/dns", "spec egress 0 to 0"),
    Mutation("network-dns", "NetworkPolicy/dns", "spec egress 0 ports 1"),
    Mutation("network-dns", "NetworkPolicy/dns", ""),
    # doors
    Mutation("network-in selectors target-ports", "Service/router", f"spec selector {COMPONENT}", "x"),
    Mutation("selectors", READER, f"spec selector matchLabels {COMPONENT}", "x"),
    Mutation("selectors", "NetworkPolicy/page-from-outside", f"spec podSelector matchLabels {COMPONENT}", "x"),
    Mutation("selectors", "ServiceMonitor/router", "spec endpoints 0 port", "metrics"),
    Mutation("target-ports", "Service/router", "spec ports 0 targetPort", 8080),
    Mutation("cluster-ip", "Service/router", "spec type", "LoadBalancer"),
    Mutation("routes", "HTTPRoute/shop", "spec rules 0 backendRefs 0 port", 80),
    Mutation("routes", "HTTPRoute/shop", "spec parentRefs 0 name", "nobody"),
    Mutation("routes", "HTTPRoute/shop", "spec parentRefs 0 namespace", "other"),
    Mutation("routes", "Gateway/shop", "spec listeners 0 hostname", "other.example.com"),
    Mutation("routes network-in", "HTTPRoute/shop", f"{ROUTE} backendRefs 0 namespace", "other"),
    Mutation("routes network-in", "HTTPRoute/shop", f"{ROUTE} backendRefs 0 kind", "Secret"),
    Mutation("routes", "HTTPRoute/shop", f"{ROUTE} backendRefs 1", {"name": "task-reader", "port": 3000}),
    Mutation("routes", "HTTPRoute/shop", f"{ROUTE} filters", [MIRROR]),
    Mutation("routes", "Gateway/shop", "spec listeners 0 allowedRoutes namespaces from", "All"),
    Mutation("routes", "Ingress/shop", "spec defaultBackend", {"service": {"name": "x", "port": {"number": 1}}}),
    Mutation("routes", "Ingress/shop", "spec rules 0 http paths 0 backend service name", "nobody"),
    Mutation("tls", "Gateway/shop", "spec listeners 0 tls certificateRefs"),
    Mutation("tls", "Gateway/shop", "spec listeners 0 protocol", "HTTP"),
    Mutation("tls", "Ingress/shop", "spec tls"),
    Mutation("tls", "Ingress/shop", "spec tls 0 hosts", ["other.example.com"]),
    Mutation("token", ROUTER, f"{CONTAINER} env"),
    Mutation("token", ROUTER, f"{CONTAINER} env API_TOKEN"),
    Mutation("token", ROUTER, f"{CONTAINER} env API_TOKEN valueFrom secretKeyRef optional", True),
    Mutation("token", ROUTER, "metadata annotations model-compose.policy/token-variable"),
]


def mutated(mutation: Mutation) -> list[Manifest]:
    """The objects of an export of which one is changed or gone."""
    return applied_mutated(mutation)[1]


def applied_mutated(mutation: Mutation) -> tuple[str, list[Manifest]]:
    """The same, and where they are in the tree: in production where the object is there."""
    sets = _sets(mutation.example)
    if not mutation.path and mutation.value is not GONE:
        return PROD, [*sets[PROD], mutation.value]
    kind, _, name = mutation.where.rpartition(":")[2].partition("/")
    for folder, objects in sets.items():
        for index, each in enumerate(objects):
            if each["kind"] == kind and re.fullmatch(name, each["metadata"]["name"]):
                found = copy.deepcopy(objects)
                if not mutation.path:
                    del found[index]
                else:
                    _change(found[index], mutation.path.split(), mutation.value)
                return folder, found
    raise LookupError(mutation.where)


@cache
def _sets(example: str) -> dict[str, list[Manifest]]:
    documents = folders(export(example))
    parts = [f"components/{part}" for part in ("ingress", "servicemonitor")]
    return {PROD: rendered(documents, PROD), **{part: rendered_with(documents, part) for part in parts}}


def _change(value: Any, path: list[str], new: Any) -> None:
    *keys, last = path
    for key in keys:
        value = value[_key(value, key)]
    place = _key(value, last)
    if new is GONE:
        del value[place]
    elif isinstance(value, list) and place == len(value):
        value.append(new)
    else:
        value[place] = new


def _key(value: Any, key: str) -> Any:
    if not isinstance(value, list):
        return key
    return int(key) if key.isdigit() else [each["name"] for each in value].index(key)
