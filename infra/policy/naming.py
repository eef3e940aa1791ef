"""What objects are called, and what they hold: names, labels, settings, and no secret."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from infra.policy.objects import Manifest, Objects, Pod, name_of
from infra.policy.rules import Problem, Rule, of_each, of_pods
from infra.secrets import is_secret_name

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,251}[a-z0-9])?", re.ASCII)
_HOST: Final = frozenset({"Namespace", "Service"})
_LONGEST_HOST: Final = 63
"""Names of these are parts of a host's name."""
_LABEL: Final = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_PREFIX: Final = "app.kubernetes.io/"
_OF_ALL: Final = frozenset(_PREFIX + name for name in ("name", "instance", "part-of", "managed-by"))
_OF_PODS: Final = _OF_ALL | {_PREFIX + "component", _PREFIX + "version"}
_CLUSTER_WIDE: Final = frozenset({"Namespace"})

_CREDENTIAL: Final = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@"  # a URL with a password
    r"|\b(hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abps]-)[\w-]{20,}"
    r"|\b(Bearer|Basic) [\w.~+/-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.ASCII,
)
"""What a value looks like that lets somebody in, whatever it is called."""


def _names(manifest: Manifest) -> Iterator[str]:
    name = name_of(manifest)
    if not _NAME.fullmatch(name) or (manifest["kind"] in _HOST and len(name) > _LONGEST_HOST):
        yield "its name is none that the cluster takes"


def _unique(objects: Objects) -> Iterator[Problem]:
    count = Counter((each["kind"], name_of(each)) for each in objects.manifests)
    for each in objects.manifests:
        if count[each["kind"], name_of(each)] > 1:
            yield each, "another object has its kind and name"


def _namespace(objects: Objects) -> Iterator[Problem]:
    known = {name_of(each) for each in objects.of("Namespace")}
    for each in objects.manifests:
        if each["kind"] not in _CLUSTER_WIDE and each["metadata"].get("namespace") not in known:
            yield each, "it is not in the export's namespace"


def _labels(objects: Objects) -> Iterator[Problem]:
    for each in objects.manifests:
        yield from ((each, problem) for problem in _missing(each["metadata"], _OF_ALL))
    for pod in objects.pods:
        template = pod.owner["spec"].get("template", pod.owner)
        for metadata in (pod.owner["metadata"], template.get("metadata", {})):
            yield from ((pod.owner, problem) for problem in _missing(metadata, _OF_PODS))


def _missing(metadata: dict[str, Any], wanted: frozenset[str]) -> Iterator[str]:
    labels = metadata.get("labels", {})
    yield from (f"the label {name} is missing" for name in sorted(wanted - labels.keys()))
    yield from (
        f"the label {name} has a value that no label may have" for name in labels if not _is_label(labels[name])
    )


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and _LABEL.fullmatch(value) is not None


def _secrets(objects: Objects) -> Iterator[Problem]:
    for secret in objects.of("Secret"):
        yield secret, "secrets do not belong into files"
    for settings in objects.of("ConfigMap"):
        for name, value in {**settings.get("data", {}), **settings.get("binaryData", {})}.items():
            if _is_secret(name, value):
                yield settings, f"the variable {name} has a value that looks like a secret"
    yield from of_pods(_told_secrets)(objects)
    for each in objects.manifests:
        if each["kind"] != "ConfigMap" and any(map(_CREDENTIAL.search, _texts(each))):
            yield each, "something in it looks like a secret"


def _told_secrets(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        for each in container.get("env", ()):
            if "value" in each and _is_secret(each["name"], each["value"]):
                yield f"the variable {each['name']} has a value that looks like a secret"
        if any("secretRef" in source for source in container.get("envFrom", ())):
            yield f"container `{container['name']}` is given every key of a Secret"


def _texts(value: Any) -> Iterator[str]:
    """Every text in it, also as a key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _is_secret(name: str, value: str) -> bool:
    """Switches such as HF_HUB_DISABLE_IMPLICIT_TOKEN hold none."""
    is_switch = value.lower() in ("", "0", "1", "true", "false")
    return bool(_CREDENTIAL.search(value)) or (is_secret_name(name) and not is_switch)


def _read(pod: Pod) -> Iterator[str]:
    """The ConfigMaps that its variables come from."""
    for container in pod.containers:
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                yield source["configMapRef"]["name"]


def _settings(objects: Objects) -> Iterator[Problem]:
    for pod in objects.pods:
        for name in _read(pod):
            settings = objects.find("ConfigMap", name)
            if settings is None:
                yield pod.owner, f"its pods read the ConfigMap `{name}`, which is not here"
            else:
                yield from ((settings, problem) for problem in _changeable(settings))


def _changeable(settings: Manifest) -> Iterator[str]:
    if settings.get("immutable") is not True:
        yield "it can change under the pods that were started with it"
    text = json.dumps(settings.get("data", {}), sort_keys=True)
    if not name_of(settings).endswith(f"-{hashlib.sha256(text.encode()).hexdigest()[:10]}"):
        yield "its name is not that of what it holds, so a change rolls no pod"


def _unread(objects: Objects) -> Iterator[Problem]:
    read = {name for pod in objects.pods for name in _read(pod)}
    return ((each, "no pod reads it") for each in objects.of("ConfigMap") if name_of(each) not in read)


RULES: Final = (
    Rule("names", "name it with a-z, 0-9 and `-`", of_each(_names)),
    Rule("unique", "give it another name", _unique),
    Rule("namespace", "put all of it into the export's namespace", _namespace),
    Rule("labels", "give it the labels that Kubernetes recommends", _labels),
    Rule(
        "secrets",
        "give it a name with TOKEN, KEY, SECRET or PASSWORD, so that it comes from a Secret",
        _secrets,
    ),
    Rule("settings", "make it immutable and name it by what it holds", _settings),
    Rule("unread", "leave it out", _unread, has_exceptions=True),
)
