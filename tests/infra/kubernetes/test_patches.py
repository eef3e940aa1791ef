from dataclasses import replace

import pytest

from infra.kubernetes.kustomization import overlay
from infra.kubernetes.patches import gpu_patch
from infra.kubernetes.workload import Gpu
from tests.infra.kubernetes.objects import SHARE, SHOP, TASK

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("gpu", "selector"),
    [
        (Gpu(1), None),
        (Gpu(1, "nvidia", "L4"), {"nvidia.com/gpu.product": "L4"}),
        (Gpu(1, "amd", "MI300X"), {"amd.com/gpu.product-name": "MI300X"}),
        (Gpu(1, "nvidia", "L4", "cloud.google.com/gke-accelerator"), {"cloud.google.com/gke-accelerator": "L4"}),
    ],
)
def test_pods_go_to_nodes_with_the_gpu_that_they_want(gpu: Gpu, selector: dict[str, str] | None) -> None:
    patch = gpu_patch(SHOP, replace(TASK, share=replace(SHARE, gpu=gpu)))
    assert patch["spec"]["template"]["spec"].get("nodeSelector") == selector


@pytest.mark.parametrize(
    ("built", "image"),
    [
        (None, {"name": "me/task-chat", "newTag": "v1"}),
        ("me/task-chat", {"name": "me/task-chat", "newTag": "v1"}),
        ("shop/task-chat", {"name": "me/task-chat", "newName": "shop/task-chat", "newTag": "v1"}),
    ],
)
def test_a_machine_has_images_by_the_names_that_it_built_them_by(built: str | None, image: dict[str, str]) -> None:
    assert overlay([], images=[replace(TASK, built=built)])["images"] == [image]
