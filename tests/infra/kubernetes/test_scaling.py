from dataclasses import replace

import pytest

from infra.kubernetes.scaling import WANTED, autoscaler, disruption_budget, scaled_object, trigger_authentication
from infra.kubernetes.workload import Scaling
from services.router.watching.metrics import Metrics
from tests.infra.kubernetes.objects import ROUTER, SHOP, TASK, export, selected

pytestmark = pytest.mark.unit

ASLEEP = replace(TASK, service="my chat", scaling=Scaling(0, 3, 50))


def test_a_node_can_always_be_drained() -> None:
    assert disruption_budget(SHOP, TASK)["spec"] == {
        "maxUnavailable": 1,
        "selector": selected("task-chat", "task"),
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_an_autoscaler_keeps_to_its_bounds() -> None:
    spec = autoscaler(SHOP, replace(TASK, scaling=Scaling(2, 6, 60)))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "task-chat"}
    (metric,) = spec["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}


def test_a_task_is_woken_by_what_the_router_is_asked_for_it() -> None:
    spec = scaled_object(SHOP, ASLEEP)["spec"]
    wake, load = spec["triggers"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 3)
    assert wake == {
        "type": "metrics-api",
        "authenticationRef": {"name": "shop"},
        "metadata": {
            "url": "http://router.market.svc:8080/metrics",
            "format": "prometheus",
            "valueLocation": 'model_compose_wanted_requests{component="my chat"}',
            "targetValue": "1000",
            "activationTargetValue": "0",
            "authMode": "bearer",
        },
    }
    assert load == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}
    assert trigger_authentication(SHOP)["spec"] == {
        "secretTargetRef": [{"parameter": "token", "name": "shop-secrets", "key": "TOKEN"}]
    }


def test_the_router_has_that_gauge() -> None:
    metrics = Metrics([])
    metrics.task("my chat")
    assert f'{WANTED}{{component="my chat"}} 0.0' in metrics.render().decode()


def test_of_several_routers_all_are_asked() -> None:
    several = export(ASLEEP, replace(ROUTER, replicas=2))
    (wake, _) = scaled_object(several, ASLEEP)["spec"]["triggers"]
    assert wake["metadata"]["aggregateFromKubeServiceEndpoints"] == "true"
    assert wake["metadata"]["aggregationType"] == "sum"
    assert "authenticationRef" not in wake


def test_one_pod_at_most_needs_no_load() -> None:
    assert len(scaled_object(SHOP, replace(ASLEEP, scaling=Scaling(0, 1)))["spec"]["triggers"]) == 1
