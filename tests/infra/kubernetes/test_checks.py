"""The 28 checks over every example, and each of them seen to fail."""

import copy
import json
from functools import cache
from pathlib import Path

import pytest

from infra.kubernetes.applying import applied as applied_of
from infra.kubernetes.tree import LOCAL, PROD, folders, tree
from infra.kubernetes.yaml_text import yaml_text
from infra.policy.checking import RULES
from tests.infra.kubernetes.checks import CHECKS, ON_DISK, Applied
from tests.infra.kubernetes.examples import EVERY, FILES, export, write
from tests.infra.kubernetes.tools import VERSIONS, by_name, checkov, kustomize, schema_problems
from tests.infra.policy.mutations import CONTAINER, MUTATIONS, POD, READER, ROUTER, WRITER, Mutation, applied_mutated

pytestmark = pytest.mark.kube

BEHAVIOR = "horizontalPodAutoscalerConfig behavior"
FOREIGN = [
    (1, Mutation("", READER, "spec replica", 2)),
    (1, Mutation("", READER, f"{CONTAINER} ports 0 containerPort", "http")),
    (1, Mutation("", "HTTPRoute/shop", "spec rules 0 backendRefs 0 port", "http")),
    (1, Mutation("", "ScaledObject/task-writer-0e3c5fe0", "spec minReplicas", 0)),
    (1, Mutation("", "ScaledObject/task-writer-0e3c5fe0", f"spec advanced {BEHAVIOR} scaleUp window", 1)),
    (1, Mutation("", "ScaledObject/task-writer-0e3c5fe0", f"spec advanced {BEHAVIOR} scaleDown policies 0 value", 0)),
    (1, Mutation("", "ServiceMonitor/router", "spec endpoints 0 interval", 15)),
    (1, Mutation("", "PrometheusRule/shop", "spec groups 0 rules 0 for", 300)),
    (5, Mutation("", READER, f"{CONTAINER} image", f"registry.example.com/me/shop/reader:v1@sha256:{'0' * 64}")),
    (1, Mutation("", READER, f"{POD} volumes 1", {"name": "weights", "image": {"tag": "1"}})),
    (10, Mutation("", READER, f"{CONTAINER} resources limits cpu", "2")),
    (11, Mutation("", READER, f"{CONTAINER} resources requests memory", "5Gi")),
    (11, Mutation("", "pair:Deployment/task-wide", f"{CONTAINER} resources requests memory", "2511Mi")),
    (11, Mutation("", "pair:Deployment/task-stored", f"{CONTAINER} resources requests memory", "1Gi")),
    (12, Mutation("", "pair:Deployment/task-writer", f"{CONTAINER} resources limits nvidia.com/gpu", "1")),
    (12, Mutation("", "pair:Deployment/task-writer", f"{CONTAINER} resources limits nvidia.com/gpu")),
    (12, Mutation("", WRITER, f"{POD} nodeSelector nvidia.com/gpu.product")),
    (12, Mutation("", READER, f"{CONTAINER} resources limits nvidia.com/gpu", "1")),
    (13, Mutation("", READER, f"{CONTAINER} startupProbe periodSeconds", 1)),
    (13, Mutation("", "pair:Deployment/task-stored", f"{CONTAINER} startupProbe failureThreshold", 359)),
    (15, Mutation("", READER, f"{POD} terminationGracePeriodSeconds", 134)),
    (15, Mutation("", ROUTER, f"{POD} terminationGracePeriodSeconds", 134)),
    (15, Mutation("", "pair:Deployment/router", f"{POD} terminationGracePeriodSeconds", 104)),
    (16, Mutation("", READER, "")),
    (18, Mutation("", "HorizontalPodAutoscaler/task-reader", "spec maxReplicas", 5)),
    (18, Mutation("", "ScaledObject/task-writer-0e3c5fe0", "")),
    (21, Mutation("", WRITER, "spec strategy rollingUpdate maxSurge", 1)),
    (21, Mutation("", READER, "spec strategy rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1})),
    (24, Mutation("", READER, "metadata annotations", {"note": "sentinel-token"})),
]
"""What is seen by more than our own rules."""


@cache
def applied(name: str) -> list[Applied]:
    """Everything of an example that can be applied."""
    found: list[Applied] = []
    seen: set[str] = set()
    for folder, objects in applied_of(folders(export(name))).items():
        texts = [json.dumps(each, sort_keys=True) for each in objects]
        new = [each for each, text in zip(objects, texts, strict=True) if text not in seen]
        seen.update(texts)
        found.append(Applied(name, folder, objects, new))
    return found


def test_images_are_no_volumes_in_clusters_that_the_component_is_not_for() -> None:
    (mounting,) = [each for each in applied("quickstart") if each.folder == "components/image-volume"]
    (task,) = [each for each in mounting.new if each["kind"] == "Deployment"]
    assert [version for version in VERSIONS if list(schema_problems(task, [version]))] == ["1.30"]
    assert "1.33 with the feature gate" in tree(export("quickstart"))["README.md"]


def test_every_rule_of_ours_has_a_number() -> None:
    assert sorted({*CHECKS, *ON_DISK}) == list(range(1, 29))
    assert {rule for check in CHECKS.values() for rule in check.rules.split()} == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("number", CHECKS)
def test_every_example_passes(number: int, name: str) -> None:
    check = CHECKS[number]
    assert {each.folder: found for each in applied(name) if (found := check.problems(each))} == {}, check.demand


@pytest.mark.parametrize("name", EVERY)
def test_kubectl_makes_of_the_tree_what_was_checked(tmp_path: Path, name: str) -> None:
    """Check 2. Of most examples overlays and components at once; of those that have golden trees everything."""
    write(tmp_path, export(name))
    every = applied(name)
    some = [*(each for each in every if each.folder in (LOCAL, PROD)), every[-1]]
    for number, each in enumerate(every if name in FILES else some):
        parts, folder = each.folder.split(), each.folder
        if folder.startswith("components/"):
            folder = f"overlays/{number}"
            kustomization = {"resources": ["../../base"], "components": [f"../../{part}" for part in parts]}
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "kustomization.yaml").write_text(yaml_text(kustomization))
        assert by_name(kustomize(tmp_path / folder)) == by_name(each.objects)


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (
            "base/kustomization.yaml",
            "router/service.yaml",
            "router/services.yaml",
            r"router/services\.yaml.*no such file",
        ),
        ("overlays/prod/kustomization.yaml", "gateway", "door", r"components/door.*no such file"),
        ("base/page/service.yaml", "name: page\n", "name: router\n", r"already registered id: Service.*/router\.shop"),
    ],
)
def test_kubectl_refuses_what_does_not_belong_together(
    tmp_path: Path, path: str, old: str, new: str, said: str
) -> None:
    write(tmp_path, export("shop"))
    (tmp_path / path).write_text((tmp_path / path).read_text("utf-8").replace(old, new))
    with pytest.raises(ValueError, match=said):
        kustomize(tmp_path / PROD)


@pytest.mark.parametrize("number", CHECKS)
def test_every_check_is_seen_to_fail(number: int) -> None:
    """By each of its rules, and by each thing that it takes beside them."""
    check = CHECKS[number]
    own = [each for each in MUTATIONS if set(each.rules.split()) & set(check.rules.split())]
    foreign = [each for with_number, each in FOREIGN if with_number == number]
    assert bool(own) == bool(check.rules)
    assert bool(foreign) == bool(check.others)
    for mutation in own:
        assert check.problems(_applied(mutation)) != [], mutation
    for mutation in foreign:
        assert [problem for other in check.others for problem in other(_applied(mutation))] != [], mutation


def _applied(mutation: Mutation) -> Applied:
    folder, objects = applied_mutated(mutation)
    return Applied(mutation.example, folder, objects, objects)


def test_checkov_finds_nothing_but_what_is_wrong(tmp_path: Path) -> None:
    """Check 28, of all examples at once and one that has a privileged container."""
    for name in EVERY:
        text = "---\n".join(yaml_text(each) for part in applied(name) for each in part.new)
        (tmp_path / f"{name.replace('/', '-')}.yaml").write_text(text)
    wrong = copy.deepcopy(by_name(applied("shop")[0].objects)["Deployment", "page"])
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (tmp_path / "wrong.yaml").write_text(yaml_text(wrong))
    assert checkov(tmp_path) == {"wrong.yaml": ["CKV_K8S_16 Deployment.shop.page"]}
