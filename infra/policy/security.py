"""What a pod may do: Pod Security Standard `restricted`, and what is stricter here than there."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final

from infra.policy.objects import Container, Manifest, Objects, Pod, amount
from infra.policy.rules import Problem, Rule, of_each, of_pods

_LOWEST_ID: Final = 10_001
"""Lower ones may be those of somebody on the node."""
_SHARED: Final = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
_ADMISSION: Final = "pod-security.kubernetes.io/enforce"
_BY_ANNOTATION: Final = ("apparmor", "seccomp")
"""What older clusters read from a pod's annotations."""
_VOLUMES: Final = frozenset({"emptyDir", "persistentVolumeClaim", "image"})
"""Fewer than the standard has: `projected` may hold a token. Images do nothing that a container's own could not."""
_SCRATCH: Final = "/tmp"  # noqa: S108 - the one place that a container may write without keeping it
_RIGHTS: Final = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def _of_containers(wanted: Callable[[Pod, Container], bool], problem: str) -> Callable[[Objects], Any]:
    """Each container must be so; `problem` says of one that is not what it does."""

    def check(pod: Pod) -> Iterable[str]:
        return (f"container `{each['name']}` {problem}" for each in pod.containers if not wanted(pod, each))

    return of_pods(check)


def _own(container: Container, key: str) -> Any:
    return container.get("securityContext", {}).get(key)


def _host_namespaces(pod: Pod) -> Iterable[str]:
    return (f"`{key}` lets its containers see others" for key in _SHARED if pod.spec.get(key))


def _volumes(pod: Pod) -> Iterator[str]:
    for volume in pod.spec.get("volumes", ()):
        kinds = volume.keys() - {"name"}
        if len(kinds & _VOLUMES) != 1 or not kinds <= _VOLUMES:
            yield f"volume `{volume['name']}` is of another kind: {', '.join(sorted(kinds)) or 'none'}"


def _has_no_host_port(_: Pod, container: Container) -> bool:
    return not any(port.get("hostPort") for port in container.get("ports", ()))


def _is_usual(pod: Pod, container: Container) -> bool:
    return (
        not _own(container, "privileged")
        and _own(container, "procMount") in (None, "Default")
        and not pod.security(container, "seLinuxOptions")
        and not pod.security(container, "windowsOptions")
        and all(each.get("type") != "Unconfined" for each in pod.security(container, "appArmorProfile"))
        and not pod.security(container, "sysctls")
        and not any(word in name for name in pod.annotations for word in _BY_ANNOTATION)
    )


def _is_nobody(pod: Pod, container: Container) -> bool:
    """By what the container says, and by what the pod says: it holds for whoever is put beside it."""
    users, groups = (pod.security(container, key) for key in ("runAsUser", "runAsGroup"))
    others = [*pod.security(container, "fsGroup"), *chain(*pod.security(container, "supplementalGroups"))]
    is_high = all(isinstance(each, int) and each >= _LOWEST_ID for each in (*users, *groups, *others))
    return is_high and bool(users) and bool(groups) and {*pod.security(container, "runAsNonRoot")} == {True}


def _drops_all(_: Pod, container: Container) -> bool:
    capabilities = _own(container, "capabilities") or {}
    return "ALL" in capabilities.get("drop", ()) and not capabilities.get("add")


def _is_filtered(pod: Pod, container: Container) -> bool:
    return {each.get("type") for each in pod.security(container, "seccompProfile")} == {"RuntimeDefault"}


def _writable(pod: Pod) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
    room = sum(_room(each) for each in pod.containers)
    for volume in volumes.values():
        if "emptyDir" not in volume:
            continue
        given = volume["emptyDir"] or {}
        if "sizeLimit" not in given:
            yield f"volume `{volume['name']}` may grow until the node is full"
        elif _amount(given["sizeLimit"]) > room:
            yield f"volume `{volume['name']}` may hold more than `ephemeral-storage` allows, so the pod is evicted"
        if given.get("medium"):
            yield f"volume `{volume['name']}` takes the memory that its containers have"
    for container in pod.containers:
        places = {
            mount["mountPath"]
            for mount in container.get("volumeMounts", ())
            if "emptyDir" in volumes.get(mount["name"], {})
        }
        yield from (f"container `{container['name']}` may write in {place}" for place in sorted(places - {_SCRATCH}))
        if _SCRATCH not in places:
            yield f"container `{container['name']}` has no {_SCRATCH}, which libraries take for granted"


def _room(container: Container) -> float:
    return _amount(container.get("resources", {}).get("limits", {}).get("ephemeral-storage", "Infinity"))


def _amount(quantity: str | int) -> float:
    """Infinite for what is none, as another rule says."""
    try:
        return amount(quantity)
    except ValueError:
        return math.inf


def _pod_token(pod: Pod) -> Iterator[str]:
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "its pods are given a token for the cluster's own API"


def _account_token(account: Manifest) -> Iterator[str]:
    if account.get("automountServiceAccountToken") is not False:
        yield "whoever runs as it is given a token for the cluster's own API"


def _token(objects: Objects) -> Iterator[Problem]:
    yield from of_pods(_pod_token)(objects)
    yield from of_each(_account_token, "ServiceAccount")(objects)


def _account(objects: Objects) -> Iterator[Problem]:
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
    if labels.get(_ADMISSION) != "restricted":
        yield "it admits pods that are not restricted"
    if labels.get(f"{_ADMISSION}-version", "latest") != "latest":
        yield "it admits what an old version of the standard did"


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
        f"`runAsNonRoot: true`, ids of {_LOWEST_ID} or more",
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
