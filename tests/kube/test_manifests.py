"""What is changed in an export for podman is what is listed, and nothing else."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.kubernetes.examples import GOLDEN
from tests.infra.kubernetes.tools import kustomize
from tests.kube.manifests import CHANGED, LEFT_OUT, Playable, playable, secret_text

pytestmark = pytest.mark.kube


@pytest.fixture(scope="module", params=["quickstart", "shop"])
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return kustomize(GOLDEN / request.param / "overlays" / "local")


@pytest.fixture
def played(objects: list[dict[str, Any]]) -> Playable:
    return playable(copy.deepcopy(objects))


def differences(left: Any, right: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of two objects where they differ, without the numbers of lists."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in {*left, *right}:
            yield from differences(left.get(key), right.get(key), (*place, key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            yield from differences(one, other, place)
    elif left != right:
        yield place


def test_each_object_is_played_or_left_out_for_a_reason(objects: list[dict[str, Any]], played: Playable) -> None:
    documents = [document for pod in played.pods for document in pod.documents]
    given = {(each["kind"], each["metadata"]["name"]) for each in [*documents, *played.claims]}
    missing = {each["kind"] for each in objects if (each["kind"], each["metadata"]["name"]) not in given}
    assert missing == played.left_out == set(LEFT_OUT)


def test_only_what_is_listed_is_changed(objects: list[dict[str, Any]], played: Playable) -> None:
    originals = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    found = {
        place
        for pod in played.pods
        for document in pod.documents
        for place in differences(originals[document["kind"], document["metadata"]["name"]], document)
    }
    pod, container = ("spec", "template", "spec"), ("spec", "template", "spec", "containers")
    volume = {(*pod, "volumes", "name"), (*container, "volumeMounts", "name")}
    assert found == {(*container, "ports"), (*container, "livenessProbe")} | volume
    assert CHANGED.keys() == {"ports", "livenessProbe", "emptyDir"}


def test_no_two_pods_share_what_each_has_for_itself(played: Playable) -> None:
    volumes = [volume for pod in played.pods for volume in pod.volumes]
    assert len(set(volumes)) == len(volumes) == len(played.pods)


def test_what_must_outlive_a_pod_keeps_its_name() -> None:
    played = playable(kustomize(GOLDEN / "quickstart" / "overlays" / "local"))
    (claim,) = played.claims
    (router,) = [pod for pod in played.pods if pod.name == "router"]
    volumes = router.documents[-1]["spec"]["template"]["spec"]["volumes"]
    assert [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each] == [
        claim["metadata"]["name"]
    ]


def test_the_grace_is_what_the_wait_before_it_leaves(played: Playable) -> None:
    for pod in played.pods:
        assert pod.grace_s == pod.spec["terminationGracePeriodSeconds"] - 10 > 0
        assert pod.port(pod.container["livenessProbe"]["httpGet"]["port"]) in (3000, 8080, 8081)


def test_a_secret_is_read_back() -> None:
    made = json.loads(secret_text({"TOKEN": "grüße"}))
    assert {name: base64.b64decode(value).decode() for name, value in made.items()} == {"TOKEN": "grüße"}
