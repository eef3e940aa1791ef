"""`export kubernetes`: what it writes of images that are built, and what it says where they are not."""

import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from builders.images.layout import Image, digest_of
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.lock import LOCK_FILE, Lock, LockedModel
from compose.cli import cli
from tests.compose.loading import load
from tests.images import COMMIT, keep_image
from tests.registry import FakeRegistry

pytestmark = pytest.mark.server

FILE = """
controller: {webui: {}, auth: {token: "${env.API_TOKEN}"}}
component: {id: chat, type: model, task: chat-completion, model: acme/tiny}
"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Image]:
    """Of a file in the working folder, built and locked."""
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.setenv("API_TOKEN", "sentinel")
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    loaded = load(folder, FILE, API_TOKEN="sentinel")
    (folder / LOCK_FILE).write_text(Lock("1", models={"acme/tiny": LockedModel(COMMIT, {}, 1_000_000)}).text)
    store = BlobStore.of(os.environ)
    layer, _ = store.layer("own", lambda: {"/task.json": File(b"x")}, purpose="task")
    return {service: keep_image(store, loaded, service, [layer]) for service in ("chat", "router", "page")}


def rebuild(service: str, tag: str) -> None:
    """Other layers for the router, and of a new tag the other images as they are."""
    store, loaded = BlobStore.of(os.environ), load(Path.cwd(), FILE, API_TOKEN="sentinel")
    layers = [store.layer(name, lambda: {"/task.json": File(b"y")}, purpose="task")[0] for name in ("own", "more")]
    for each in ("chat", "router", "page"):
        if each == service or tag != "latest":
            keep_image(store, loaded, each, layers if each == service else layers[:1], tag)


def push(*arguments: str) -> None:
    assert CliRunner().invoke(cli, ["push", *arguments]).exit_code == 0


def export(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["export", "kubernetes", "-o", "k8s", *arguments])


def pod_image(folder: Path, name: str) -> str:
    document = yaml.safe_load((folder / "base" / name / "deployment.yaml").read_text("utf-8"))
    image: str = document["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def everything(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_images_are_those_that_were_built_where_push_brings_them(images: dict[str, Image]) -> None:
    result = export("--registry", "registry.example.com/me")
    assert result.exit_code == 0
    assert result.stdout == "wrote k8s; next: kubectl apply -k k8s/overlays/prod\n"
    place = "registry.example.com/me/shop"
    assert pod_image(Path("k8s"), "task-chat") == f"{place}/task-chat:latest@{images['chat'].digest}"
    assert pod_image(Path("k8s"), "router") == f"{place}/router:latest@{images['router'].digest}"
    local = yaml.safe_load(Path("k8s", "overlays", "local", "kustomization.yaml").read_text("utf-8"))
    assert {"name": f"{place}/router", "newName": "shop/router", "newTag": "latest"} in local["images"]
    assert b"sentinel" not in b"".join(everything(Path("k8s")).values())


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_digests_are_those_that_the_registry_has(images: dict[str, Image], compression: str) -> None:
    with FakeRegistry() as registry:
        push(f"{registry.name}/me", "--compression", compression)
        result = export("--registry", f"{registry.name}/me/")
        there = {name: digest_of(tags["latest"][1]) for name, tags in registry.manifests.items()}
    assert result.exit_code == 0
    assert "not pushed" not in result.stderr
    assert there.keys() == {f"me/shop/{name}" for name in ("task-chat", "router", "page")}
    for name, digest in there.items():
        image = pod_image(Path("k8s"), name.rpartition("/")[2])
        assert image == f"{registry.name}/{name}:latest@{digest}"
    built = {image.digest for image in images.values()}
    assert (built == {*there.values()}) is (compression == "none")


def test_what_was_pushed_elsewhere_or_before_is_told(images: dict[str, Image]) -> None:
    """Another tag, another place, another build: the digest there is not known."""
    with FakeRegistry() as registry:
        push(registry.name, "--compression", "gzip", "chat", "router")
        assert "warning: page: not pushed to" in export("--registry", registry.name).stderr
        assert "warning: chat, router, page: not" in export("--registry", f"{registry.name}/me").stderr
        rebuild("router", "v2")
        told = export("--registry", registry.name, "--tag", "v2").stderr
        assert f"warning: chat, router, page: not pushed to {registry.name} from here" in told
        assert f"`model-compose push {registry.name} --tag v2`" in told
        rebuild("router", "latest")
        assert "warning: router, page: not pushed" in export("--registry", registry.name).stderr


def test_without_a_registry_it_is_for_this_machine(images: dict[str, Image]) -> None:
    result = export()
    assert result.exit_code == 0
    assert result.stdout == "wrote k8s; next: kubectl apply -k k8s/overlays/local\n"
    assert "names images that no cluster can fetch" in result.stderr
    assert pod_image(Path("k8s"), "page") == f"shop/page:latest@{images['page'].digest}"


def test_a_second_export_changes_nothing(images: dict[str, Image]) -> None:
    export()
    first = everything(Path("k8s"))
    assert export().exit_code == 0
    assert everything(Path("k8s")) == first


def test_the_page_may_be_left_out(images: dict[str, Image]) -> None:
    export()
    assert export("--without-page").exit_code == 0
    assert not Path("k8s/base/page").exists()


def test_the_namespace_is_the_one_that_is_named(images: dict[str, Image]) -> None:
    assert export("--namespace", "market").exit_code == 0
    document = yaml.safe_load(Path("k8s/base/namespace.yaml").read_text("utf-8"))
    assert document["metadata"]["name"] == "market"


def test_a_refused_namespace_may_be_the_name_of_the_folder(images: dict[str, Image]) -> None:
    folder = Path.cwd().with_name("default")
    Path.cwd().rename(folder)
    os.chdir(folder)
    result = export()
    assert result.exit_code == 2
    assert "with `--namespace`, which is otherwise the name of the file's folder" in result.stderr


@pytest.mark.parametrize("name", ["Market", "-", "a" * 64, "default", "kube-system"])
def test_some_namespaces_are_refused(images: dict[str, Image], name: str) -> None:
    result = export(f"--namespace={name}")
    assert result.exit_code == 2
    assert "namespace" in result.stderr
    assert not Path("k8s").exists()


def test_what_is_no_label_of_nodes_is_refused(images: dict[str, Image]) -> None:
    assert export("--gpu-label", "cloud.google.com/gke-accelerator").exit_code == 0
    for key in ("a=b", "a/b/c", "/type", "GKE/type", ""):
        result = export("--gpu-label", key)
        assert (result.exit_code, "is no key of a label" in result.stderr) == (2, True)


def test_without_images_it_says_how_they_are_made(images: dict[str, Image]) -> None:
    result = export("--tag", "v2")
    assert result.exit_code == 3
    assert "there is no image shop/task-chat:v2" in result.stderr
    assert "model-compose build --tag v2 chat" in result.stderr


def test_images_of_another_file_are_not_exported(images: dict[str, Image]) -> None:
    Path("model-compose.yml").write_text(FILE.replace("id: chat", "id: chat, max_queue_length: 3"))
    result = export()
    assert result.exit_code == 3
    assert "the file has changed since shop/task-chat:latest was built" in result.stderr


def test_what_would_break_a_rule_is_refused_and_nothing_is_written(
    images: dict[str, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password under a name that does not say so is no secret to anybody, and would be read in a ConfigMap."""
    address = "https://me:sentinel@example.com"
    text = FILE.replace("webui: {}", f'webui: {{}}, runtime: {{environment: {{MIRROR: "{address}"}}}}')
    text = text.replace("id: chat", f'id: chat, runtime: {{environment: {{OTHER: "{address}"}}}}')
    Path("model-compose.yml").write_text(text)
    result = export()
    assert result.exit_code == 3
    broken = "would break the rule `secrets` for clusters: the variable"
    remedy = "  give it a name with TOKEN, KEY, SECRET or PASSWORD, so that it comes from a Secret"
    assert result.stderr.splitlines()[0] == "error: the file has 4 problems"
    assert set(result.stderr.splitlines()[1:]) == {
        *(
            f"model-compose.yml:{place} {broken} {name} has a value that looks like a secret"
            for place, name in (
                ("2:13: the ConfigMap of `router`", "MIRROR"),
                ("2:13: the ConfigMap of `page`", "MIRROR"),
                ("3:12: the ConfigMap of `chat`", "MIRROR"),
                ("3:12: the ConfigMap of `chat`", "OTHER"),
            )
        ),
        remedy,
    }
    assert "sentinel" not in result.stderr
    assert not Path("k8s").exists()


def test_what_knowingly_breaks_a_rule_is_told(images: dict[str, Image]) -> None:
    result = export("--registry", "registry.example.com/me", "--replicas", "2")
    assert result.stderr == (
        "Deployment `page` is an exception to the rule `replicas`: a browser's requests must come to the pod that has "
        "its session\n"
        "Deployment `router` is an exception to the rule `replicas`: runs are in a file of its own; with "
        "`controller.database: postgresql://...` there are several\n"
        "warning: chat, router, page: not pushed to registry.example.com/me from here, so named by the digests that "
        "were built; `model-compose push registry.example.com/me` brings them there (with --compression, export again "
        "afterwards)\n"
    )
    readme = Path("k8s/README.md").read_text("utf-8")
    assert "- Deployment `page`, rule `replicas`: a browser's requests must come" in readme


def test_numbers_for_clusters_are_no_warning_here(images: dict[str, Image]) -> None:
    Path("model-compose.yml").write_text(FILE.replace("id: chat", "id: chat, replicas: 3"))
    assert "`replicas` is for Kubernetes" in CliRunner().invoke(cli, ["validate"]).stderr
    result = export()
    assert result.exit_code == 0
    assert "is for Kubernetes" not in result.stderr


def test_an_empty_registry_is_none(images: dict[str, Image]) -> None:
    result = export("--registry", "")
    assert result.exit_code == 2
    assert "is no registry that images are pushed to" in result.stderr
    assert not Path("k8s").exists()


def test_the_next_command_can_be_copied(images: dict[str, Image]) -> None:
    result = CliRunner().invoke(cli, ["export", "kubernetes", "-o", "my k8s"])
    assert result.stdout == "wrote my k8s; next: kubectl apply -k 'my k8s/overlays/local'\n"


def test_a_folder_of_somebody_else_is_left_alone(images: dict[str, Image]) -> None:
    Path("k8s").mkdir()
    Path("k8s/notes.txt").write_text("mine")
    assert export().exit_code == 2
    assert list(everything(Path("k8s"))) == [Path("notes.txt")]
