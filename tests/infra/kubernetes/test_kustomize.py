"""What `kubectl kustomize` makes of the trees: components and overlays change what they are for, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.kubernetes.examples import FILES, GOLDEN
from tests.infra.kubernetes.tools import by_name, kustomize

pytestmark = pytest.mark.kube

WRITER = "task-writer-0e3c5fe0"
SERVICES = {"task-reader": "reader", WRITER: "writer", "router": "router", "page": "page"}


@pytest.fixture(scope="module")
def prod() -> dict[tuple[str, str], dict[str, Any]]:
    return by_name(kustomize(GOLDEN / "shop" / "overlays" / "prod"))


def pods(objects: dict[tuple[str, str], dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each Deployment its name, the pods' spec and their container."""
    for (kind, name), found in objects.items():
        if kind == "Deployment":
            spec = found["spec"]["template"]["spec"]
            yield name, spec, spec["containers"][0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/prod"])
def test_every_object_has_the_namespace(name: str, folder: str) -> None:
    for found in kustomize(GOLDEN / name / folder):
        assert found["kind"] == "Namespace" or found["metadata"]["namespace"] == name


def test_nothing_says_how_many_there_are_of_what_is_scaled(prod: dict[tuple[str, str], dict[str, Any]]) -> None:
    fixed = {name: found["spec"].get("replicas") for (kind, name), found in prod.items() if kind == "Deployment"}
    assert fixed == {"page": 1, "router": None, "task-reader": None, WRITER: None}
    assert [name for kind, name in prod if kind == "HorizontalPodAutoscaler"] == ["router", "task-reader"]
    assert [name for kind, name in prod if kind == "ScaledObject"] == [WRITER]


def test_only_what_asks_for_a_gpu_gets_one(prod: dict[tuple[str, str], dict[str, Any]]) -> None:
    for name, spec, container in pods(prod):
        given = {**container["resources"]["limits"], **container["resources"]["requests"]}
        assert given.get("nvidia.com/gpu") == ("1" if name == WRITER else None)
        assert [each["key"] for each in spec.get("tolerations", ())] == (["nvidia.com/gpu"] if name == WRITER else [])
        assert spec["nodeSelector"].get("nvidia.com/gpu.product") == ("NVIDIA-L4" if name == WRITER else None)
        assert spec["nodeSelector"]["kubernetes.io/arch"] == "amd64"


def test_the_router_knows_its_address_before_it_allows_it(prod: dict[tuple[str, str], dict[str, Any]]) -> None:
    (variables,) = [container["env"] for name, _, container in pods(prod) if name == "router"]
    names = [variable["name"] for variable in variables]
    assert names.index("POD_IP") < names.index("MODEL_COMPOSE_ALLOWED_HOSTS")
    assert {"API_TOKEN", "DATABASE_URL"} < set(names)


def test_a_machine_of_ones_own_takes_images_by_tag_and_one_pod_each() -> None:
    local = by_name(kustomize(GOLDEN / "shop" / "overlays" / "local"))
    for name, _, container in pods(local):
        assert local["Deployment", name]["spec"]["replicas"] == 1
        assert container["image"] == f"shop/{SERVICES[name]}:v1"
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["resources"]["requests"]["cpu"] == "100m"
    assert not {kind for kind, _ in local} & {"HorizontalPodAutoscaler", "ScaledObject", "HTTPRoute"}
