import ast
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.kubernetes.scaling import autoscaler, disruption_budget, scaled_object, trigger_authentication
from infra.kubernetes.workload import Scaling, Workload
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


NAMES = ["my chat", 'a "quoted" \\ one', "Überblick, 日本語", "a{b}=c,d", "line\nbreak", "100 %"]


def test_that_gauge_is_found_whatever_a_component_is_called() -> None:
    metrics = Metrics([])
    for number, name in enumerate(NAMES):
        asked = metrics.task(name)
        for _ in range(number):
            asked.began()
    page = metrics.render().decode()
    found = [value_at(page, location(replace(ASLEEP, service=name))) for name in NAMES]
    assert found == [0, 1, 2, 3, 4, 5]
    with pytest.raises(LookupError):
        value_at(page, location(replace(ASLEEP, service="nobody")))


def location(task: Workload) -> str:
    wake, *_ = scaled_object(SHOP, task)["spec"]["triggers"]
    return str(wake["metadata"]["valueLocation"])


def value_at(page: str, selector: str) -> float:
    """What KEDA reads: the first sample of the selector's name in which each of its labels is found.

    Of Prometheus' selectors it takes names and quoted values, which are Go's; these escapes mean the same to Python.
    """
    name, labels = re.fullmatch(r"([a-z_]+)\{(.*)\}", selector, re.DOTALL).groups()  # type: ignore[union-attr]
    matchers = re.findall(r'([a-z_]+)=("(?:[^"\\\n]|\\.)*")(?:,|$)', labels)
    assert ",".join(f"{label}={value}" for label, value in matchers) == labels
    wanted = {label: ast.literal_eval(value) for label, value in matchers}
    (family,) = (family for family in text_string_to_metric_families(page) if family.name == name)
    for sample in family.samples:
        if wanted.items() <= sample.labels.items():
            return sample.value
    raise LookupError(selector)


def test_of_several_routers_all_are_asked() -> None:
    several = export(ASLEEP, replace(ROUTER, replicas=2))
    (wake, _) = scaled_object(several, ASLEEP)["spec"]["triggers"]
    assert wake["metadata"]["aggregateFromKubeServiceEndpoints"] == "true"
    assert wake["metadata"]["aggregationType"] == "sum"
    assert "authenticationRef" not in wake


def test_gpus_are_scaled_by_what_the_router_is_asked_alone() -> None:
    spec = scaled_object(SHOP, replace(ASLEEP, scaling=Scaling(2, 4, 50, requests=16)))["spec"]
    (wake,) = spec["triggers"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 4)
    assert (wake["type"], wake["metadata"]["targetValue"]) == ("metrics-api", "16")


def test_one_pod_at_most_needs_no_load() -> None:
    assert len(scaled_object(SHOP, replace(ASLEEP, scaling=Scaling(0, 1)))["spec"]["triggers"]) == 1
