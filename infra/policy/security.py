"""What a pod may do: Pod Security Standard `restricted`, and what is stricter here than there."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from infra.policy.objects import Manifest, Objects, Pod
from infra.policy.rules import Rule, of_each, of_pods

_LOWEST_ID: Final = 10_001
"""Lower ones may be those of somebody on the node."""
_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES: Final = frozenset(
    {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected", "downwardAPI", "image"}
)
"""Those of the standard; images since Kubernetes 1.33, as they do nothing that an image of a container could not."""
_SCRATCH: Final = "/tmp"  # noqa: S108 - the one place that a container may write without keeping it
_RIGHTS: Final = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")

Container = dict[str, Any]


def _of_containers(wanted: Callable[[Pod, Container], bool], problem: str) -> Callable[[Objects], Any]:
    """Each container must be so; `problem` says of one that is not what it does."""

    def check(pod: Pod) -> Iterable[str]:
        return (f"container `{each['name']}` {problem}" for each in pod.containers if not wanted(pod, each))

    return of_pods(check)


def _own(container: Container, key: str) -> Any:
    return container.get("securityContext", {}).get(key)


def _host_namespaces(pod: Pod) -> Iterable[str]:
    return (f"`{key}` gives it the node's own" for key in _HOST if pod.spec.get(key))


def _volumes(pod: Pod) -> Iterator[str]:
    for volume in pod.spec.get("volumes", ()):
        kinds = volume.keys() - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume `{volume['name']}` is of a kind that is not restricted: {', '.join(sorted(kinds))}"


def _has_no_host_port(_: Pod, container: Container) -> bool:
    return not any(port.get("hostPort") for port in container.get("ports", ()))


def _is_usual(pod: Pod, container: Container) -> bool:
    return (
        not _own(container, "privileged")
        and _own(container, "procMount") in (None, "Default")
        and not pod.security(container, "seLinuxOptions")
        and not pod.security(container, "windowsOptions")
        and (pod.security(container, "appArmorProfile") or {}).get("type") != "Unconfined"
        and not pod.spec.get("securityContext", {}).get("sysctls")
    )


def _is_nobody(pod: Pod, container: Container) -> bool:
    ids = [pod.security(container, key) for key in ("runAsUser", "runAsGroup")]
    is_high = all(isinstance(each, int) and each >= _LOWEST_ID for each in ids)
    return is_high and pod.security(container, "runAsNonRoot") is True


def _drops_all(_: Pod, container: Container) -> bool:
    capabilities = _own(container, "capabilities") or {}
    return "ALL" in capabilities.get("drop", ()) and not capabilities.get("add")


def _is_filtered(pod: Pod, container: Container) -> bool:
    return (pod.security(container, "seccompProfile") or {}).get("type") == "RuntimeDefault"


def _writable(pod: Pod) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
    for volume in volumes.values():
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield f"volume `{volume['name']}` may grow until the node is full"
    for container in pod.containers:
        for mount in container.get("volumeMounts", ()):
            if "emptyDir" in volumes.get(mount["name"], {}) and mount["mountPath"] != _SCRATCH:
                yield f"container `{container['name']}` may write in {mount['mountPath']}"


def _pod_token(pod: Pod) -> Iterator[str]:
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "its pods are given a token for the cluster's own API"


def _account_token(account: Manifest) -> Iterator[str]:
    if account.get("automountServiceAccountToken") is not False:
        yield "whoever runs as it is given a token for the cluster's own API"


def _token(objects: Objects) -> Iterator[tuple[Manifest, str]]:
    yield from of_pods(_pod_token)(objects)
    yield from of_each(_account_token, "ServiceAccount")(objects)


def _account(objects: Objects) -> Iterator[tuple[Manifest, str]]:
    for pod in objects.pods:
        name = pod.spec.get("serviceAccountName", "default")
        if objects.find("ServiceAccount", name) is None:
            yield pod.owner, f"its pods run as the account `{name}`, which is not here"


def _rights(_: Manifest) -> Iterator[str]:
    yield "it gives rights on the cluster's own API, which no service of ours asks"


def _links(pod: Pod) -> Iterator[str]:
    if pod.spec.get("enableServiceLinks") is not False:
        yield "each Service of the namespace becomes variables of its pods, such as PAGE_PORT"


def _admission(namespace: Manifest) -> Iterator[str]:
    labels = namespace["metadata"].get("labels", {})
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "it admits pods that are not restricted"


def _has_read_only_root(_: Pod, container: Container) -> bool:
    return _own(container, "readOnlyRootFilesystem") is True


def _cannot_escalate(_: Pod, container: Container) -> bool:
    return _own(container, "allowPrivilegeEscalation") is False


RULES: Final = (
    Rule("admission", "label it `pod-security.kubernetes.io/enforce: restricted`", of_each(_admission, "Namespace")),
    Rule("host-namespaces", "leave that out", of_pods(_host_namespaces)),
    Rule("host-ports", "leave `hostPort` out", _of_containers(_has_no_host_port, "takes a port of the node")),
    Rule("volumes", f"use one of {', '.join(sorted(_VOLUMES))}", of_pods(_volumes)),
    Rule("privileged", "keep to what runtimes give", _of_containers(_is_usual, "asks for more than containers have")),
    Rule(
        "user",
        f"`runAsNonRoot: true`, `runAsUser` and `runAsGroup` of {_LOWEST_ID} or more",
        _of_containers(_is_nobody, "may run as somebody whom the node knows"),
    ),
    Rule(
        "read-only-root",
        "`readOnlyRootFilesystem: true`",
        _of_containers(_has_read_only_root, "may change its own files"),
    ),
    Rule("writable", f"`emptyDir` with `sizeLimit`, at {_SCRATCH} alone", of_pods(_writable)),
    Rule("capabilities", "`drop: [ALL]` and add none", _of_containers(_drops_all, "keeps capabilities")),
    Rule(
        "escalation",
        "`allowPrivilegeEscalation: false`",
        _of_containers(_cannot_escalate, "may become more than it is"),
    ),
    Rule(
        "seccomp",
        "`seccompProfile: {type: RuntimeDefault}`",
        _of_containers(_is_filtered, "may make every system call"),
    ),
    Rule("account-token", "`automountServiceAccountToken: false`", _token),
    Rule("account", "name a ServiceAccount of the export", _account),
    Rule("cluster-rights", "leave it out", of_each(_rights, *_RIGHTS)),
    Rule("service-links", "`enableServiceLinks: false`", of_pods(_links)),
)
