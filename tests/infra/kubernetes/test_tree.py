"""The whole tree: equal to the golden ones, complete, and nothing in it of the machine that wrote it."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from infra.kubernetes.tree import components, tree
from infra.kubernetes.workload import ImageVolume, Scaling
from tests.infra.kubernetes.examples import FILES, GOLDEN, SECRETS, export
from tests.infra.kubernetes.objects import SHOP, TASK

pytestmark = pytest.mark.unit

_FEWEST_CHARACTERS = 6
"""Of a name of this machine: a shorter one, such as `/` or `shop`, may stand in any text."""


@pytest.mark.parametrize("name", FILES)
def test_the_tree_is_the_golden_one(name: str) -> None:
    """After a change that is meant: `python -m tests.infra.kubernetes.examples`, and read the difference."""
    folder = GOLDEN / name
    golden = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.*")}
    assert dict(tree(export(name))) == dict(sorted(golden.items()))


@pytest.mark.parametrize("name", FILES)
def test_it_holds_no_secret_and_nothing_of_this_machine(name: str) -> None:
    text = "\n".join(tree(export(name)).values())
    machine = [str(Path.cwd()), f"{Path.home()}/", socket.gethostname()]
    here = [word for word in machine if len(word) >= _FEWEST_CHARACTERS]
    assert [word for word in [*here, "sentinel", "db.example.com", *SECRETS.values()] if word in text] == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_named_by_a_kustomization_and_every_name_is_a_file(name: str) -> None:
    files = tree(export(name))
    named = {"README.md", *(f"components/prometheus/{path}" for path in ("alerts.yaml", "scrape.yaml"))}
    for path, text in files.items():
        if not path.endswith("kustomization.yaml"):
            continue
        folder = path.rpartition("/")[0]
        document = yaml.safe_load(text)
        named.add(path)
        patches = [patch["path"] for patch in document.get("patches", ()) if "path" in patch]
        named |= {f"{folder}/{each}" for each in (*document.get("resources", ()), *patches) if ".." not in each}
        sources = [each.partition("=")[2] for maps in document.get("configMapGenerator", ()) for each in maps["files"]]
        named |= {f"{folder}/{each}" for each in sources}
        places = [*document.get("components", ()), *(each for each in document.get("resources", ()) if ".." in each)]
        for place in places:
            assert place.removeprefix("../../") + "/kustomization.yaml" in files
    assert named == set(files)


@pytest.mark.parametrize("name", FILES)
def test_keys_are_sorted_and_each_file_holds_one_document(name: str) -> None:
    for path, text in tree(export(name)).items():
        if path.endswith(".yaml"):
            (document,) = yaml.safe_load_all(text)
            assert list(document) == sorted(document)


def test_components_are_there_when_something_needs_them() -> None:
    always = {"gateway", "grafana", "ingress", "prometheus", "servicemonitor"}
    assert set(components(SHOP)) == always
    scaled = replace(SHOP, workloads=(replace(TASK, scaling=Scaling(2, 4)), *SHOP.workloads[1:]))
    assert set(components(scaled)) == always | {"hpa"}
    on_gpus = replace(SHOP, workloads=(replace(TASK, scaling=Scaling(2, 4, requests=9)), *SHOP.workloads[1:]))
    assert set(components(on_gpus)) == set(components(SHOP)) | {"keda"}
    asleep = replace(SHOP, workloads=(replace(TASK, scaling=Scaling(0, 1)), *SHOP.workloads[1:]))
    assert set(components(asleep)) == always | {"keda"}


def test_weights_become_a_volume_of_each_task_that_has_them() -> None:
    volume = ImageVolume(f"me/task:1@sha256:{'b' * 64}", f"me/weights:1@sha256:{'c' * 64}", "/weights")
    found = components(replace(SHOP, workloads=(replace(TASK, volume=volume), *SHOP.workloads[1:])))["image-volume"]
    assert set(found) == {"kustomization.yaml", "task-chat-patch.yaml"}
    assert found["task-chat-patch.yaml"]["spec"]["template"]["spec"] == {
        "containers": [
            {
                "name": "task",
                "image": volume.task,
                "volumeMounts": [{"name": "weights", "mountPath": "/weights", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "weights", "image": {"reference": volume.weights, "pullPolicy": "Always"}}],
    }


@pytest.mark.parametrize(("exposed", "used"), [(True, ["../../components/gateway"]), (False, [])])
def test_what_asks_for_no_token_is_not_opened(exposed: bool, used: list[str]) -> None:
    files = tree(replace(SHOP, exposed=exposed))
    assert yaml.safe_load(files["overlays/prod/kustomization.yaml"]).get("components", []) == used
