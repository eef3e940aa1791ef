"""What `kubectl kustomize` makes of a folder of the tree, from the data itself, so that it can be judged unwritten."""

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from infra.kubernetes.kustomization import KUSTOMIZATION, Files
from infra.kubernetes.objects import Manifest
from infra.kubernetes.observing.dashboard import json_text


def rendered(folders: Mapping[str, Files], folder: str) -> list[Manifest]:
    """The objects of `base` or of an overlay."""
    return _built(folders, folders[folder][KUSTOMIZATION], folders[folder])


def rendered_with(folders: Mapping[str, Files], *parts: str) -> list[Manifest]:
    """The objects of the base with some of the components."""
    return _built(folders, {"resources": ["../../base"], "components": [f"../../{part}" for part in parts]}, {})


def _built(folders: Mapping[str, Files], root: dict[str, Any], files: Files) -> list[Manifest]:
    objects: list[Manifest] = []
    for path in root.get("resources", ()):
        is_file = path in files
        objects += [copy.deepcopy(files[path])] if is_file else rendered(folders, path.removeprefix("../../"))
    for path in root.get("components", ()):
        _add(objects, folders, path.removeprefix("../../"))
    _patch(objects, root, files)
    for image in root.get("images", ()):
        _retag(objects, image)
    return objects


def _add(objects: list[Manifest], folders: Mapping[str, Files], folder: str) -> None:
    """What a component brings, with the components that it is made of."""
    part = folders[folder]
    root = part[KUSTOMIZATION]
    objects += [copy.deepcopy(part[each]) for each in root.get("resources", ())]
    objects += [_generated(each, part) for each in root.get("configMapGenerator", ())]
    for path in root.get("components", ()):
        _add(objects, folders, path.removeprefix("../../"))
    _patch(objects, root, part)


def _generated(generator: dict[str, Any], files: Files) -> Manifest:
    """A ConfigMap of files; ours are all JSON, and keep their names."""
    assert generator["options"]["disableNameSuffixHash"]
    named = (each.partition("=") for each in generator["files"])
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": generator["name"],
            "namespace": generator["namespace"],
            "labels": dict(generator["options"]["labels"]),
            "annotations": dict(generator["options"]["annotations"]),
        },
        "data": {key: json_text(files[path]) for key, _, path in named},
    }


def _patch(objects: list[Manifest], root: dict[str, Any], files: Files) -> None:
    for patch in root.get("patches", ()):
        if "path" in patch:
            changes = files[patch["path"]]
            target = _find(objects, changes["kind"], changes["metadata"]["name"])
            target |= _merged(target, changes)
        else:
            _operate(_find(objects, patch["target"]["kind"], patch["target"]["name"]), yaml.safe_load(patch["patch"]))


def _find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def _operate(target: Manifest, operations: list[dict[str, str]]) -> None:
    """Of what a JSON patch can do, the one thing that ours do."""
    for operation in operations:
        assert operation["op"] == "remove"
        *keys, last = operation["path"].removeprefix("/").split("/")
        place = target
        for key in keys:
            place = place[key]
        del place[last]


def _merged(old: Any, new: Any) -> Any:
    """A strategic merge: mappings by key, lists of what has names by name, new ones first; everything else is new."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    if _are_named(old) and _are_named(new):
        changed = {each["name"]: each for each in new}
        added = [each for each in new if each["name"] not in {known["name"] for known in old}]
        return [*added, *(_merged(each, changed.get(each["name"], {})) for each in old)]
    return copy.deepcopy(new)


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) and "name" in each for each in value)


def _retag(objects: list[Manifest], image: dict[str, str]) -> None:
    for each in objects:
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            if container["image"].partition("@")[0].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
