"""Every rule: what breaks it is seen by it and by no other one, and what is as it should be by none."""

from dataclasses import replace

import pytest

from infra.kubernetes.rendering import rendered
from infra.kubernetes.tree import PROD, broken, folders
from infra.kubernetes.workload import Claim, Export, Gpu, Scaling
from infra.policy.checking import RULES, findings
from infra.policy.rules import Finding
from tests.infra.kubernetes.examples import EVERY, export
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHARE, SHOP, TASK, workload
from tests.infra.kubernetes.objects import export as export_of
from tests.infra.policy.mutations import MUTATIONS, Mutation, mutated

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_what_breaks_a_rule_is_seen(mutation: Mutation) -> None:
    found = {each.rule for each in findings(mutated(mutation)) if each.reason is None}
    assert found == set(mutation.rules.split())


def test_every_rule_is_seen_to_be_broken() -> None:
    assert {rule.name for rule in RULES} == {name for each in MUTATIONS for name in each.rules.split()}
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("name", EVERY)
def test_no_example_breaks_a_rule(name: str) -> None:
    assert broken(export(name)) == []


@pytest.mark.parametrize(
    "told",
    [
        SHOP,
        replace(SHOP, token=None, exposed=True, workloads=(TASK, replace(ROUTER, secrets={}), PAGE)),
        replace(SHOP, token=None, exposed=False, workloads=(TASK, replace(ROUTER, secrets={}), PAGE)),
        replace(SHOP, hosts=(), base_path="", workloads=(TASK, ROUTER)),
        replace(SHOP, workloads=(replace(TASK, replicas=3), replace(ROUTER, replicas=2, scaling=Scaling(2, 6)), PAGE)),
        replace(SHOP, workloads=(replace(TASK, scaling=Scaling(1, 3)), ROUTER, PAGE)),
        replace(SHOP, workloads=(replace(TASK, scaling=Scaling(0, 1)), ROUTER, PAGE)),
        replace(SHOP, workloads=(replace(TASK, share=replace(SHARE, gpu=Gpu(2, "amd", "MI300X"))), ROUTER, PAGE)),
        replace(SHOP, workloads=(TASK, replace(ROUTER, claims=(Claim("runs", "/var/lib/runs", 2**30),)), PAGE)),
        export_of(workload(f"task-{45 * 'a'}"), replace(ROUTER, calls=(f"task-{45 * 'a'}",)), name=63 * "s", token="T"),
    ],
)
def test_whatever_a_file_may_ask_for_can_be_exported(told: Export) -> None:
    assert broken(told) == []


@pytest.mark.parametrize(
    "value", ["sk-learn-models", "http://proxy.example.com:3128", "a@b.example.com", "task-hf_models", "ghp_short"]
)
def test_what_only_resembles_a_secret_is_none(value: str) -> None:
    assert broken(replace(SHOP, workloads=(replace(TASK, environment={"PLACE": value}), ROUTER, PAGE))) == []


def test_what_knowingly_breaks_a_rule_says_why() -> None:
    found = findings(rendered(folders(export("shop")), PROD))
    assert list(found) == [
        Finding(
            "scaling-bounds",
            "ScaledObject",
            "task-writer-0e3c5fe0",
            "there may be no pod, so nobody answers when it goes",
            "`scaling: {min: 2, max: 4}`",
            "the file says `scaling.min: 0`",
        ),
        Finding(
            "replicas",
            "Deployment",
            "page",
            "it has a single pod, so nobody answers when that goes",
            "have two pods or more",
            "a browser's requests must come to the pod that has its session",
        ),
    ]


def test_no_reason_is_enough_for_what_the_cluster_would_suffer_from() -> None:
    (objects,) = [mutated(each) for each in MUTATIONS if each.path.endswith("hostNetwork")]
    (reader,) = [each for each in objects if each["metadata"]["name"] == "task-reader" and each["kind"] == "Deployment"]
    reader["metadata"]["annotations"] = {"model-compose.policy/host-namespaces": "because"}
    assert [each.rule for each in findings(objects) if each.reason is None] == ["host-namespaces"]
