"""kubectl carries out what an export's README says, and what follows: updates, and the ways back."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.kubernetes.workload import Export
from tests.cluster.api import FakeCluster
from tests.e2e.documents import Block, programs
from tests.infra.kubernetes.examples import FILES, GOLDEN, SECRETS, write
from tests.infra.kubernetes.objects import SHOP
from tests.infra.kubernetes.tools import kustomize
from tests.skipping import skip

pytestmark = pytest.mark.kube

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"
NEEDED = re.compile(r"\b(Gateway\sAPI|\w+)(?:\]\(\S+\))?\s(\d\.\d+)\s(?:or|and)\snewer")
Run = Callable[[str], str]


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as cluster:
        yield cluster


@pytest.fixture
def run(cluster: FakeCluster, tmp_path: Path) -> Run:
    """Commands in a folder of their own, as a reader types them; what they print. Raises AssertionError."""
    if shutil.which("kubectl") is None:
        skip("there is no kubectl")
    environment = {**os.environ, "KUBECONFIG": cluster.configure(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def to_run(block: Block) -> str:
    """Without the command that stays: nothing listens behind the fake cluster."""
    return "\n".join(line for line in block.text.splitlines() if "port-forward" not in line)


@pytest.mark.parametrize("name", FILES)
def test_the_commands_of_the_readme_bring_everything(name: str, cluster: FakeCluster, run: Run, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / name, tmp_path, dirs_exist_ok=True)
    (tmp_path / "secrets.env").write_text("".join(f"{key}={value}\n" for key, value in SECRETS.items()))
    for block in programs(tmp_path / "README.md"):
        run(to_run(block))
    wanted = {(each["kind"], each["metadata"]["name"]) for each in kustomize(tmp_path / "overlays" / "prod")}
    assert {(kind, each) for kind, _, each in cluster.objects if kind != "Secret"} == wanted
    (credentials,) = cluster.of("ServiceAccount")[name]["imagePullSecrets"]
    assert cluster.of("Secret")[credentials["name"]]["type"] == "kubernetes.io/dockerconfigjson"
    if name == "shop":
        assert cluster.of("Secret")["shop-secrets"]["data"].keys() == SECRETS.keys()


@pytest.mark.parametrize("name", FILES)
def test_what_is_brought_to_this_machine_is_there(name: str) -> None:
    readme = (GOLDEN / name / "README.md").read_text("utf-8")
    (asked,) = re.findall(r"kubectl port-forward --namespace (\S+) service/(\S+) (\d+)\n", readme)
    services = [each for each in kustomize(GOLDEN / name / "base") if each["kind"] == "Service"]
    ports = {(each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"]["ports"] for each in services}
    assert [str(port["port"]) for port in ports[asked[0], asked[1]]] == [asked[2]]


def test_the_page_about_clusters_asks_for_the_same_versions() -> None:
    page, readme = (set(NEEDED.findall(path.read_text("utf-8"))) for path in (PAGE, GOLDEN / "shop" / "README.md"))
    assert {name for name, _ in readme} == {"Gateway API", "Kubernetes", "KEDA"}
    assert readme == page


def test_a_second_apply_changes_nothing(cluster: FakeCluster, run: Run, tmp_path: Path) -> None:
    """But for the budget of evictions, whose selector kubectl sends whole each time."""
    write(tmp_path, SHOP)
    run("kubectl apply -k overlays/prod")
    before = {**cluster.objects}
    told = run("kubectl apply -k overlays/prod")
    assert cluster.objects == before
    assert {line.split("/")[0] for line in told.splitlines() if not line.endswith("unchanged")} <= {
        "poddisruptionbudget.policy"
    }


def newer() -> Export:
    """Another image and other settings of each service."""
    workloads = tuple(
        replace(each, image=each.image[:-8] + "f" * 8, environment={**each.environment, "MORE": "1"})
        for each in SHOP.workloads
    )
    return replace(SHOP, workloads=workloads)


def running(cluster: FakeCluster) -> dict[str, tuple[str, str]]:
    """Of each Deployment the image, and the settings that its pods read, which must be there."""
    found = {}
    for name, deployment in cluster.of("Deployment").items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        settings = container["envFrom"][0]["configMapRef"]["name"]
        assert settings in cluster.of("ConfigMap")
        found[name] = (container["image"], settings)
    return found


def test_the_former_export_brings_the_former_pods_back(cluster: FakeCluster, run: Run, tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    write(tmp_path / "newer", newer())
    run("kubectl apply -k overlays/prod")
    first, templates = running(cluster), {key: past[1] for key, past in cluster.past.items()}
    run("kubectl apply -k newer/overlays/prod")
    second = running(cluster)
    assert all(first[name][0] != second[name][0] and first[name][1] != second[name][1] for name in first)
    run("kubectl apply -k overlays/prod")
    assert running(cluster) == first
    assert {key: past[max(past)] for key, past in cluster.past.items()} == templates


def test_an_undone_rollout_finds_its_settings_again(cluster: FakeCluster, run: Run, tmp_path: Path) -> None:
    """They are other objects than those of the newer pods, and no `apply` removes them."""
    write(tmp_path, SHOP)
    write(tmp_path / "newer", newer())
    run("kubectl apply -k overlays/prod")
    first = running(cluster)
    run("kubectl apply -k newer/overlays/prod")
    for name in first:
        run(f"kubectl rollout undo deployment/{name} --namespace {SHOP.namespace}")
    assert running(cluster) == first


def test_what_no_cluster_takes_is_refused(cluster: FakeCluster, run: Run, tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    run("kubectl apply -k overlays/prod")
    deployment = tmp_path / "base" / "router" / "deployment.yaml"
    deployment.write_text(deployment.read_text("utf-8").replace("readinessProbe", "readynessProbe"))
    with pytest.raises(AssertionError, match="readynessProbe"):
        run("kubectl apply -k overlays/prod")
    settings = next((tmp_path / "base" / "router").glob("configmap.yaml"))
    settings.write_text(settings.read_text("utf-8").replace('DO_NOT_TRACK: "1"', 'DO_NOT_TRACK: "0"'))
    with pytest.raises(AssertionError, match="field is immutable"):
        run("kubectl apply -f base/router/configmap.yaml")
