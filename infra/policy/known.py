"""What rules know: an object or a setting that none of them looks at may do anything, so there is none in an export."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from infra.policy.objects import CONTAINERS, Manifest, Pod
from infra.policy.rules import Rule, of_each, of_pods

_KINDS: Final = {
    "v1": {"ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"},
    "apps/v1": {"Deployment"},
    "autoscaling/v2": {"HorizontalPodAutoscaler"},
    "gateway.networking.k8s.io/v1": {"Gateway", "HTTPRoute"},
    "keda.sh/v1alpha1": {"ScaledObject", "TriggerAuthentication"},
    "monitoring.coreos.com/v1": {"PrometheusRule", "ServiceMonitor"},
    "networking.k8s.io/v1": {"Ingress", "NetworkPolicy"},
    "policy/v1": {"PodDisruptionBudget"},
}
"""By group and version, as another group may have a kind of the same name."""

_POD: Final = {
    *CONTAINERS,
    *("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets"),
    *("hostIPC", "hostNetwork", "hostPID", "shareProcessNamespace", "securityContext"),
    *("nodeSelector", "tolerations", "topologySpreadConstraints", "terminationGracePeriodSeconds", "volumes"),
}
_CONTAINER: Final = {
    *("name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "ports", "resources"),
    *("securityContext", "volumeMounts", "lifecycle", "startupProbe", "readinessProbe", "livenessProbe"),
}
_BOTH: Final = {"appArmorProfile", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile"}
_POD_SECURITY: Final = {*_BOTH, "fsGroup", "fsGroupChangePolicy", "supplementalGroups", "sysctls", "windowsOptions"}
_CONTAINER_SECURITY: Final = {
    *_BOTH,
    *("allowPrivilegeEscalation", "capabilities", "privileged", "procMount", "readOnlyRootFilesystem"),
    "windowsOptions",
}
_PROBE: Final = {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}
_GET: Final = {"host", "httpHeaders", "path", "port", "scheme"}
_SOURCES: Final = {"secretKeyRef", "fieldRef"}


def _kinds(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] not in _KINDS.get(manifest["apiVersion"], ()):
        yield f"no rule looks at {manifest['apiVersion']} {manifest['kind']}"


def _fields(pod: Pod) -> Iterator[str]:
    yield from _others("its pods", pod.spec, _POD)
    yield from _others("its pods' `securityContext`", pod.spec.get("securityContext"), _POD_SECURITY)
    for container in pod.containers:
        name = f"container `{container['name']}`"
        yield from _others(name, container, _CONTAINER)
        yield from _others(f"{name}: `securityContext`", container.get("securityContext"), _CONTAINER_SECURITY)
        yield from _others(f"{name}: `lifecycle`", container.get("lifecycle"), {"preStop"})
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            yield from _others(f"{name}: `{probe}`", container.get(probe), _PROBE)
            yield from _others(f"{name}: `{probe}`", container.get(probe, {}).get("httpGet"), _GET)
        for variable in container.get("env", ()):
            yield from _others(f"{name}: {variable['name']}", variable.get("valueFrom"), _SOURCES)
        for source in container.get("envFrom", ()):
            yield from _others(f"{name}: `envFrom`", source, {"configMapRef", "secretRef"})
        for mount in container.get("volumeMounts", ()):
            yield from _others(f"{name}: {mount['mountPath']}", mount, {"name", "mountPath", "readOnly"})


def _others(where: str, given: Mapping[str, Any] | None, known: Collection[str]) -> Iterator[str]:
    return (f"{where}: no rule looks at `{key}`" for key in sorted((given or {}).keys() - known))


RULES: Final = (
    Rule("kinds", "leave it out, or put it into an overlay of your own", of_each(_kinds)),
    Rule("fields", "leave it out, or put it into an overlay of your own", of_pods(_fields)),
)
