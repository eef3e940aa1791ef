from dataclasses import replace
from typing import Any

import pytest

from infra.kubernetes.deployments import deployment, volume_claims
from infra.kubernetes.workload import Claim, Gpu, Workload
from tests.infra.kubernetes.objects import ROUTER, SHARE, SHOP, TASK, selected

pytestmark = pytest.mark.unit

CLAIM = Claim("runs", "/var/lib/runs", 5 * 2**30)


def rolling(surge: int, unavailable: int) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


@pytest.mark.parametrize(
    ("workload", "strategy"),
    [
        (TASK, rolling(1, 0)),
        (replace(TASK, share=replace(SHARE, gpu=Gpu(1))), rolling(0, 1)),
        (replace(ROUTER, claims=(CLAIM,)), {"type": "Recreate"}),
    ],
)
def test_how_pods_are_replaced(workload: Workload, strategy: dict[str, Any]) -> None:
    assert deployment(SHOP, workload)["spec"]["strategy"] == strategy


def test_its_pods_are_those_that_it_picks() -> None:
    found = deployment(SHOP, replace(TASK, replicas=3))
    assert found["spec"]["replicas"] == 3
    assert found["spec"]["selector"] == selected("task-chat", "task")
    assert (
        selected("task-chat", "task")["matchLabels"].items() <= found["spec"]["template"]["metadata"]["labels"].items()
    )


def test_a_rollout_waits_longer_than_a_start() -> None:
    assert deployment(SHOP, replace(TASK, start_timeout_s=1000))["spec"]["progressDeadlineSeconds"] == 1300


def test_the_labels_are_the_recommended_ones_and_the_version_is_the_images() -> None:
    assert deployment(SHOP, replace(TASK, replicas=2))["metadata"] == {
        "name": "task-chat",
        "namespace": "market",
        "labels": {
            "app.kubernetes.io/name": "task-chat",
            "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/component": "task",
            "app.kubernetes.io/part-of": "shop",
            "app.kubernetes.io/managed-by": "model-compose",
            "app.kubernetes.io/version": "a" * 12,
        },
    }


def test_volumes_that_outlive_pods() -> None:
    (claim,) = volume_claims(SHOP, replace(ROUTER, claims=(CLAIM,)))
    assert claim["metadata"]["name"] == "router-runs"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
