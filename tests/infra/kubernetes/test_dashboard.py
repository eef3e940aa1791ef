"""The dashboard as Grafana's own types read it, and as its sidecar finds it."""

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.kubernetes.observing.dashboard import dashboard_uid, json_text
from infra.kubernetes.observing.panels import dashboard_of
from infra.kubernetes.rendering import rendered_with
from infra.kubernetes.tree import folders
from infra.policy.checking import findings
from tests.infra.kubernetes.examples import export
from tests.infra.kubernetes.objects import SHOP
from tests.infra.kubernetes.prometheus import questions

pytestmark = pytest.mark.unit

MOST_BYTES = 200_000
"""`kubectl apply` keeps an object in an annotation of itself, and annotations hold 256 KiB."""


def lost(written: Any, read: Any, path: str = "") -> list[str]:
    """Where something that was written is not what was read."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [each for key in written for each in lost(written[key], read.get(key), f"{path}/{key}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = enumerate(zip(written, read, strict=True))
        return [each for index, pair in pairs for each in lost(*pair, f"{path}/{index}")]
    return [] if written == read else [path]


def read_by_grafana(document: dict[str, Any]) -> Any:
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


def test_grafanas_own_types_read_all_of_it() -> None:
    document = dashboard_of(SHOP)
    assert lost(document, read_by_grafana(document)) == []
    document["panels"][1]["fieldConfig"]["defaults"]["uint"] = "s"
    assert lost(document, read_by_grafana(document)) == ["/panels/1/fieldConfig/defaults/uint"]


def test_it_has_a_name_of_its_own_that_stays() -> None:
    again = replace(SHOP, workloads=SHOP.workloads[1:])
    others = [replace(SHOP, namespace="other"), replace(SHOP, name="other")]
    assert dashboard_uid(again) == dashboard_uid(SHOP) == dashboard_of(SHOP)["uid"]
    assert len({dashboard_uid(each) for each in (SHOP, *others)}) == 3
    assert len(dashboard_uid(SHOP)) <= 40


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = dashboard_of(SHOP)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels if panel["type"] != "row")
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart


def test_every_question_is_of_one_namespace_and_starts_with_that_of_the_export() -> None:
    document = dashboard_of(SHOP)
    (which,) = [each for each in document["templating"]["list"] if each["name"] == "namespace"]
    assert which["current"]["value"] == "market"
    asked = [expr for expr in questions(document) if expr != "model_compose_build_info"]
    assert len(asked) > 50
    assert all(expr.count("{") == expr.count('{namespace="shop"') for expr in asked)


def test_the_sidecar_finds_it_under_a_key_of_its_own() -> None:
    told = export("shop")
    objects = rendered_with(folders(told), "components/grafana")
    (settings,) = [each for each in objects if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert settings["data"] == {f"{dashboard_uid(told)}.json": json_text(dashboard_of(told))}
    assert len(json.dumps(settings)) < MOST_BYTES


def test_without_its_reason_it_would_be_refused_as_settings_that_no_pod_reads() -> None:
    objects = rendered_with(folders(export("shop")), "components/grafana")
    (settings,) = [each for each in objects if each["metadata"]["name"] == "shop-dashboard"]
    assert {each.rule for each in findings(objects) if each.name == "shop-dashboard" and not each.reason} == set()
    settings["metadata"]["annotations"] = {}
    assert {each.rule for each in findings(objects) if each.name == "shop-dashboard"} == {"unread"}
