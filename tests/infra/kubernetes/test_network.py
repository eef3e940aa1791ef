from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from infra.kubernetes.network import admit, ask_dns, deny_all, pods_named, traffic
from infra.kubernetes.workload import Workload
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHOP, TASK, selected

pytestmark = pytest.mark.unit

HTTP = [{"port": "http", "protocol": "TCP"}]


def tcp(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"}]


def said(workload: Workload) -> tuple[list[Any], list[Any]]:
    """What a workload takes, and what it sends beside questions to the cluster's DNS."""
    spec = traffic(SHOP, workload)["spec"]
    assert spec["podSelector"] == selected(workload.name, workload.kind)
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    return spec["ingress"], spec["egress"]


def test_nobody_speaks_unless_it_is_said() -> None:
    assert deny_all(SHOP)["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_pod_asks_the_dns_that_clusters_have() -> None:
    spec = ask_dns(SHOP)["spec"]
    assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Egress"])
    usual, openshift = spec["egress"]
    pods = [peer["podSelector"]["matchLabels"] for peer in usual["to"] if "podSelector" in peer]
    assert pods == [{"k8s-app": "kube-dns"}, {"k8s-app": "node-local-dns"}]
    (addresses,) = [ip_network(peer["ipBlock"]["cidr"]) for peer in usual["to"] if "ipBlock" in peer]
    assert addresses.is_link_local
    assert {ip_address(each) in addresses for each in ("169.254.20.10", "169.254.10.11", "169.254.169.254")} == {True}
    assert usual["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert openshift["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "openshift-dns"}
    assert {port["port"] for port in openshift["ports"]} == {5353}


def test_a_task_takes_the_routers_requests_and_sends_nothing() -> None:
    assert said(TASK) == ([{"from": [{"podSelector": selected("router", "router")}], "ports": HTTP}], [])


def test_the_router_asks_tasks_and_its_database() -> None:
    assert said(ROUTER) == (
        [{"from": [{"podSelector": selected("page", "page")}], "ports": HTTP}],
        [{"to": [{"podSelector": selected("task-chat", "task")}], "ports": tcp(3000)}, {"ports": tcp(5432)}],
    )


def test_the_page_asks_the_router_alone_and_nobody_in_the_cluster_asks_it() -> None:
    assert said(PAGE) == ([], [{"to": [{"podSelector": selected("router", "router")}], "ports": tcp(8080)}])


def test_others_are_let_in_by_name_or_all_of_them() -> None:
    keda = pods_named("keda-operator", "keda")
    assert keda["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}
    named = admit(SHOP, ROUTER, "router-from-keda", keda)["spec"]
    assert named["ingress"] == [{"from": [keda], "ports": HTTP}]
    assert admit(SHOP, ROUTER, "router-from-outside", None)["spec"]["ingress"] == [{"ports": HTTP}]
