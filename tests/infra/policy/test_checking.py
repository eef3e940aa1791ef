"""Every rule: what breaks it is seen by it and by no other one, and what is as it should be by none."""

from dataclasses import replace
from itertools import combinations

import pytest

from infra.kubernetes.applying import COMPONENTS, EITHER
from infra.kubernetes.rendering import rendered, rendered_with
from infra.kubernetes.tree import PROD, broken, folders
from infra.kubernetes.workload import Claim, Export, Gpu, Scaling
from infra.policy.checking import RULES, findings
from infra.policy.objects import amount, picks
from infra.policy.rules import Finding
from tests.infra.kubernetes.examples import EVERY, export
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHARE, SHOP, TASK, workload
from tests.infra.kubernetes.objects import export as export_of
from tests.infra.policy.mutations import CONTAINER, MUTATIONS, POD, READER, Mutation, mutated

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


@pytest.mark.parametrize("name", ["shop", "pair"])
def test_no_two_components_break_a_rule_together(name: str) -> None:
    """Beside each other on the base; those of which only one is taken cannot be, as both bring the same objects."""
    documents = folders(export(name))
    pairs = list(combinations([folder for folder in documents if folder.startswith(COMPONENTS)], 2))
    said = {pair: list(findings(rendered_with(documents, *pair))) for pair in pairs if _fit(*pair)}
    assert {pair: found for pair, each in said.items() if (found := [one for one in each if one.reason is None])} == {}
    for pair in {*pairs} - said.keys():
        assert "unique" in {found.rule for found in findings(rendered_with(documents, *pair))}


def _fit(*parts: str) -> bool:
    """Whether they may stand beside each other."""
    names = {part.removeprefix(COMPONENTS) for part in parts}
    return not any(names.issuperset(either) for either in EITHER)


def test_what_only_several_components_break_together_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = folders(SHOP)
    policy = documents["components/gateway"]["router-from-outside.yaml"]
    policy["metadata"]["name"] = "router-from-prometheus"
    monkeypatch.setattr("infra.kubernetes.tree.folders", lambda _: documents)
    assert {(found.rule, found.name) for found in broken(SHOP)} == {("unique", "router-from-prometheus")}


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
        export_of(
            workload(f"task-{45 * 'a'}"), replace(ROUTER, calls=(f"task-{45 * 'a'}",)), name=63 * "s", token="TOKEN"
        ),
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
            "task-writer-0e3c5fe0",
        ),
        Finding(
            "replicas",
            "Deployment",
            "page",
            "it has a single pod, so nobody answers when that goes",
            "have two pods or more",
            "a browser's requests must come to the pod that has its session",
            "page",
        ),
    ]


@pytest.mark.parametrize(
    ("mutation", "rule", "reason", "by_hand"),
    [
        (Mutation("", READER, f"{POD} hostNetwork", True), "host-namespaces", "because", True),
        (Mutation("", "HorizontalPodAutoscaler/task-reader", ""), "replicas", " ", False),
        (Mutation("", READER, f"{CONTAINER} image", "reader:v1"), "image", "because", False),
        (Mutation("", READER, f"{CONTAINER} imagePullPolicy", "Never"), "pull", "because", False),
    ],
)
def test_not_every_reason_is_enough(mutation: Mutation, rule: str, reason: str, by_hand: bool) -> None:
    """None for what the cluster would suffer from; none that says nothing; some only where images come by hand."""
    objects = mutated(mutation)
    told = {"model-compose.policy/" + rule: reason}
    (reader,) = [each for each in objects if each["metadata"]["name"] == "task-reader" and each["kind"] == "Deployment"]
    reader["metadata"]["annotations"] = told
    assert [each.rule for each in findings(objects, by_hand=by_hand) if each.reason is None] == [rule]


def test_a_machine_that_has_the_images_may_run_them_by_tag() -> None:
    objects = mutated(Mutation("", READER, f"{CONTAINER} image", "reader:v1"))
    (reader,) = [each for each in objects if each["metadata"]["name"] == "task-reader" and each["kind"] == "Deployment"]
    reader["metadata"]["annotations"] = {"model-compose.policy/image": "because"}
    assert [each.rule for each in findings(objects, by_hand=True) if each.reason is None] == []


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("250m", 0.25), (3, 3), ("1T", 1e12), ("1Pi", 2**50), ("2Ei", 2**61), ("1e3", 1000), ("5u", 5e-6), (".5k", 500)],
)
def test_quantities_are_numbers(quantity: str | int, number: float) -> None:
    assert amount(quantity) == pytest.approx(number)


@pytest.mark.parametrize("quantity", ["", "much", "1KB", "1 Gi", "inf", "1e", "0x10"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        amount(quantity)


@pytest.mark.parametrize(
    ("operator", "values", "is_picked"),
    [
        ("In", ["task"], True),
        ("In", ["page"], False),
        ("NotIn", ["task"], False),
        ("NotIn", ["page"], True),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions_pick_as_the_cluster_does(operator: str, values: list[str], is_picked: bool) -> None:
    expression = {"key": "kind", "operator": operator, "values": values}
    assert picks({"matchExpressions": [expression]}, {"kind": "task"}) == is_picked
    assert picks({"matchExpressions": [expression]}, {}) == (operator in ("NotIn", "DoesNotExist"))
