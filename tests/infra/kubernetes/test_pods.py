from dataclasses import replace
from typing import Any

import pytest

from infra.kubernetes.pods import pod_template, start_tries
from infra.kubernetes.workload import Claim, Workload
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHOP, TASK, workload

pytestmark = pytest.mark.unit


def container(template: dict[str, Any]) -> dict[str, Any]:
    (found,) = template["spec"]["containers"]
    return dict(found)


def test_nobody_in_a_pod_may_do_more_than_compute() -> None:
    template = pod_template(SHOP, TASK)
    spec = template["spec"]
    restricted = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001}
    profile = {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["securityContext"] == {**restricted, **profile}
    assert container(template)["securityContext"] == {
        **profile,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}}]
    assert container(template)["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_what_it_asks_for_and_is_limited_to() -> None:
    assert container(pod_template(SHOP, TASK))["resources"] == {
        "requests": {"cpu": "1500m", "memory": "1Gi", "ephemeral-storage": "256Mi"},
        "limits": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi"},
    }


@pytest.mark.parametrize("asked", [TASK, ROUTER, PAGE])
def test_the_probes_ask_the_pods_own_address(asked: Workload) -> None:
    found = container(pod_template(SHOP, asked))
    ready = {"path": "/readyz", "port": "http", "scheme": "HTTP"}
    assert found["startupProbe"] == {
        "httpGet": ready,
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 60,
    }
    assert found["readinessProbe"]["httpGet"] == ready
    assert found["livenessProbe"]["httpGet"] == {**ready, "path": "/livez"}
    assert found["ports"] == [{"name": "http", "containerPort": asked.port, "protocol": "TCP"}]


@pytest.mark.parametrize(("seconds", "tries"), [(1, 60), (300, 60), (301, 61), (1000, 200)])
def test_a_start_may_take_what_it_is_expected_to(seconds: float, tries: int) -> None:
    assert start_tries(workload(start_timeout_s=seconds)) == tries


def test_a_pod_that_goes_is_given_time_for_its_requests() -> None:
    template = pod_template(SHOP, replace(TASK, request_timeout_s=120))
    assert template["spec"]["terminationGracePeriodSeconds"] == 10 + 120 + 5
    assert container(template)["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


def test_secrets_are_named_and_the_rest_is_in_the_config_map() -> None:
    found = container(pod_template(SHOP, replace(ROUTER, environment={"A": "b"}, secrets={"X": "router.X", "K": "K"})))
    assert found["env"] == [
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": "shop-secrets", "key": "K"}}},
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "shop-secrets", "key": "router.X"}}},
    ]
    assert found["envFrom"][0]["configMapRef"]["name"].startswith("router-")
    assert "env" not in container(pod_template(SHOP, TASK))


def test_a_volume_belongs_to_the_user_of_the_pod() -> None:
    spec = pod_template(SHOP, replace(ROUTER, claims=(Claim("runs", "/var/lib/runs", 1),)))["spec"]
    assert spec["securityContext"]["fsGroup"] == 10001
    assert {"name": "runs", "persistentVolumeClaim": {"claimName": "router-runs"}} in spec["volumes"]
    assert {"name": "runs", "mountPath": "/var/lib/runs"} in spec["containers"][0]["volumeMounts"]


def test_pods_go_where_their_image_runs_and_away_from_each_other() -> None:
    spec = pod_template(SHOP, TASK)["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}
    places = [constraint["topologyKey"] for constraint in spec["topologySpreadConstraints"]]
    assert places == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
