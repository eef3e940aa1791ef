"""The parts of a task's image: their names, and that an export names what a push has brought."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from builders.container import own_labels
from builders.images.layout import Image, digest_of
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.lock import LOCK_FILE, Lock, LockedModel
from compose.cli import cli
from compose.parts import parts_of
from tests.compose.loading import load
from tests.images import COMMIT, keep_image
from tests.registry import FakeRegistry

pytestmark = pytest.mark.server

FILE = """
controller: {}
components:
  - {id: chat, type: model, task: chat-completion, model: acme/tiny, default: true}
  - {id: story, type: model, task: text-generation, model: acme/tiny}
"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Image]:
    """Of a file in the working folder, built over one model and locked."""
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    loaded = load(folder, FILE)
    (folder / LOCK_FILE).write_text(Lock("1", models={"acme/tiny": LockedModel(COMMIT, {}, 1_000_000)}).text)
    (tmp_path / "weights").write_bytes(bytes(100_000))
    store = BlobStore.of(os.environ)
    model = {"/models/a": File(tmp_path / "weights", lasting=True)}
    weights, _ = store.layer("weights", lambda: model, purpose="weights: a")

    def image(service: str) -> Image:
        own, _ = store.layer(service, lambda: {"/own": File(service.encode())}, purpose="own")
        return keep_image(store, loaded, service, [own] if service == "router" else [weights, own])

    return {service: image(service) for service in ("chat", "story", "router")}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.stderr
    return result


def mounting(name: str) -> dict[str, Any]:
    """What pods of a task are made of in the component."""
    text = Path(f"k8s/components/image-volume/{name}-patch.yaml").read_text("utf-8")
    spec: dict[str, Any] = yaml.safe_load(text)["spec"]["template"]["spec"]
    return spec


def test_weights_are_named_by_what_they_are_and_a_task_by_its_tag(images: dict[str, Image]) -> None:
    loaded = load(Path.cwd(), FILE)
    chat, story = (parts_of(loaded, service, images[service], "v1") for service in ("chat", "story"))
    assert chat is not None
    assert story is not None
    digest = own_labels(images["chat"])["weights"]
    assert (chat.weights.name, chat.weights.tag) == ("shop/weights", f"{digest[:12]}-amd64")
    assert (chat.task.name, chat.task.tag) == ("shop/task-chat", "v1-without-weights")
    assert chat.weights == story.weights
    assert chat.link == story.link
    assert parts_of(loaded, "router", images["router"], "v1") is None


@pytest.mark.parametrize("options", [(), ("--compression", "gzip")], ids=["as built", "compressed"])
def test_an_export_mounts_what_was_pushed(images: dict[str, Image], options: tuple[str, ...]) -> None:
    with FakeRegistry() as registry:
        run("push", registry.name, "--image-volumes", *options)
        run("export", "kubernetes", "-o", "k8s", "--registry", registry.name)
        for name in ("task-chat", "task-story"):
            spec = mounting(name)
            (container,), (volume,) = spec["containers"], spec["volumes"]
            for reference in (container["image"], volume["image"]["reference"]):
                place, _, digest = reference.removeprefix(f"{registry.name}/").partition("@")
                repository, _, tag = place.rpartition(":")
                assert digest_of(registry.manifests[repository][tag][1]) == digest
            assert container["image"].startswith(f"{registry.name}/shop/{name}:latest-without-weights@")
        assert mounting("task-chat")["volumes"] == mounting("task-story")["volumes"]
        assert not Path("k8s/components/image-volume/router-patch.yaml").exists()


def test_no_overlay_mounts_them_unasked(images: dict[str, Image]) -> None:
    run("export", "kubernetes", "-o", "k8s", "--registry", "registry.example.com/me")
    assert [path for path in Path("k8s/overlays").rglob("*.yaml") if "image-volume" in path.read_text("utf-8")] == []
    assert "`image-volume`" in Path("k8s/README.md").read_text("utf-8")
