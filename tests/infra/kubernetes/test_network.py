from typing import Any

import pytest

from infra.kubernetes.network import admit, deny_all, pods_named, traffic
from infra.kubernetes.workload import Workload
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHOP, TASK, selected

pytestmark = pytest.mark.unit

HTTP = [{"port": "http", "protocol": "TCP"}]


def tcp(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"}]


def beside_dns(workload: Workload) -> tuple[list[Any], list[Any]]:
    """What a workload takes, and what it sends but questions to the cluster's DNS."""
    spec = traffic(SHOP, workload)["spec"]
    assert spec["podSelector"] == selected(workload.name, workload.kind)
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, *rest = spec["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert all("podSelector" in peer or peer["ipBlock"]["cidr"].endswith("/32") for peer in dns["to"])
    return spec["ingress"], rest


def test_nobody_speaks_unless_it_is_said() -> None:
    assert deny_all(SHOP)["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_a_task_takes_the_routers_requests_and_sends_nothing() -> None:
    assert beside_dns(TASK) == ([{"from": [{"podSelector": selected("router", "router")}], "ports": HTTP}], [])


def test_the_router_asks_tasks_and_its_database() -> None:
    assert beside_dns(ROUTER) == (
        [{"from": [{"podSelector": selected("page", "page")}], "ports": HTTP}],
        [{"to": [{"podSelector": selected("task-chat", "task")}], "ports": tcp(3000)}, {"ports": tcp(5432)}],
    )


def test_the_page_asks_the_router_alone_and_nobody_in_the_cluster_asks_it() -> None:
    assert beside_dns(PAGE) == ([], [{"to": [{"podSelector": selected("router", "router")}], "ports": tcp(8080)}])


def test_others_are_let_in_by_name_or_all_of_them() -> None:
    named = admit(SHOP, ROUTER, "router-from-keda", pods_named("keda-operator"))["spec"]
    assert named["ingress"] == [{"from": [pods_named("keda-operator")], "ports": HTTP}]
    assert admit(SHOP, ROUTER, "router-from-outside", None)["spec"]["ingress"] == [{"ports": HTTP}]
