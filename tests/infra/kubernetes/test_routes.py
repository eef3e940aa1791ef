from dataclasses import replace
from typing import Any

import pytest

from infra.kubernetes.observing.scraping import service_monitor
from infra.kubernetes.routes import admit_outside, gateway, http_routes, ingress
from infra.kubernetes.services import service
from infra.kubernetes.workload import Export
from tests.infra.kubernetes.objects import ROUTER, SHOP, TASK

pytestmark = pytest.mark.unit

API = ["/api", "/v1", "/docs", "/openapi.json"]


def leads(route: dict[str, Any]) -> dict[str, list[str]]:
    """The paths by the Service behind them."""
    return {
        rule["backendRefs"][0]["name"]: [match["path"]["value"] for match in rule["matches"]]
        for rule in route["spec"]["rules"]
    }


def http_route(export: Export) -> dict[str, Any]:
    (found,) = http_routes(export)
    return found


def test_the_page_gets_what_is_not_the_routers() -> None:
    assert leads(http_route(SHOP)) == {"router": API, "page": ["/"]}
    (rule,) = ingress(SHOP)["spec"]["rules"]
    assert rule["host"] == "shop.example.com"
    assert [(path["path"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]] == [
        *((path, "router") for path in API),
        ("/", "page"),
    ]


def test_metrics_and_probes_are_nobodys_outside() -> None:
    everything = [
        path for paths in leads(http_route(replace(SHOP, workloads=(TASK, ROUTER)))).values() for path in paths
    ]
    assert everything == API


def test_an_api_at_the_root_leaves_no_room_for_a_page() -> None:
    assert leads(http_route(replace(SHOP, base_path=""))) == {"router": ["/"]}


def test_both_doors_have_a_certificate() -> None:
    (listener,) = gateway(SHOP)["spec"]["listeners"]
    assert (listener["protocol"], listener["tls"]["certificateRefs"][0]["name"]) == ("HTTPS", "shop-tls")
    assert http_route(SHOP)["spec"]["parentRefs"] == [{"name": "shop", "sectionName": "shop.example.com"}]
    assert ingress(SHOP)["spec"]["tls"] == [{"secretName": "shop-tls", "hosts": ["shop.example.com"]}]


def test_without_names_every_name_is_taken() -> None:
    nameless = replace(SHOP, hosts=())
    (listener,) = gateway(nameless)["spec"]["listeners"]
    assert (listener["name"], "hostname" in listener) == ("https", False)
    assert http_route(nameless)["spec"]["parentRefs"] == [{"name": "shop", "sectionName": "https"}]
    assert "hostnames" not in http_route(nameless)["spec"]
    assert "host" not in ingress(nameless)["spec"]["rules"][0]
    assert ingress(nameless)["spec"]["tls"] == [{"secretName": "shop-tls"}]


def test_each_name_has_a_listener_that_says_it() -> None:
    hosts = ("a.example.com", "b.example.com")
    listeners = gateway(replace(SHOP, hosts=hosts))["spec"]["listeners"]
    assert tuple(each["hostname"] for each in listeners) == tuple(each["name"] for each in listeners) == hosts


def test_many_names_need_several_routes() -> None:
    hosts = tuple(f"{number:02}.example.com" for number in range(33))
    routes = http_routes(replace(SHOP, hosts=hosts))
    assert [route["metadata"]["name"] for route in routes] == ["shop", "shop-2", "shop-3"]
    assert [len(route["spec"]["hostnames"]) for route in routes] == [16, 16, 1]
    named = [host for route in routes for host in route["spec"]["hostnames"]]
    joined = [parent["sectionName"] for route in routes for parent in route["spec"]["parentRefs"]]
    assert named == joined == list(hosts)


def test_whoever_stands_before_the_cluster_reaches_router_and_page() -> None:
    assert [policy["metadata"]["name"] for policy in admit_outside(SHOP)] == [
        "router-from-outside",
        "page-from-outside",
    ]


def test_prometheus_is_given_the_routers_token() -> None:
    (router,) = service_monitor(SHOP, ROUTER)["spec"]["endpoints"]
    (task,) = service_monitor(SHOP, TASK)["spec"]["endpoints"]
    assert task == {"port": "http", "path": "/metrics", "interval": "15s"}
    assert router["authorization"]["credentials"] == {"name": "shop-secrets", "key": "TOKEN"}


def test_a_service_is_watched_whoever_applied_it() -> None:
    picked = service_monitor(SHOP, TASK)["spec"]["selector"]["matchLabels"]
    assert picked.items() <= service(SHOP, TASK)["metadata"]["labels"].items()
    assert {key.rpartition("/")[2]: value for key, value in picked.items()} == {
        "name": "task-chat",
        "component": "task",
        "part-of": "shop",
    }
