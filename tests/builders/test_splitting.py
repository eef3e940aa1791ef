"""A task's image taken apart: what each part has, that nothing is lost, and that weights are the same for all tasks."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from builders import baking
from builders.baking import WeightsSet
from builders.container import image_config, image_labels, own_labels
from builders.contents import weights_layers
from builders.file_store import StoredFile
from builders.images.layout import BaseImage, Image, ImageConfig, Layer, Platform, digest_of
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.splitting import MOUNT, Split, split

pytestmark = pytest.mark.unit

BASE = BaseImage("python:3.11-slim", f"sha256:{'a' * 64}", ImageConfig(env={"PATH": "/bin"}), ())
MakeTask = Callable[..., Image]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "images")


def stored(folder: Path, name: str, size: int) -> tuple[str, StoredFile]:
    content = name.encode() * (size // len(name))
    (folder / name).write_bytes(content)
    return name, StoredFile(folder / name, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def make_task(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTask:
    """A task's image as `build` makes it, over a model of two large files and a small one."""
    monkeypatch.setattr(baking, "LARGE_BYTES", 10_000)
    sizes = {"config.json": 100, "model-1.safetensors": 20_000, "model-2.safetensors": 20_000}
    weights = WeightsSet(tuple(stored(tmp_path, name, size) for name, size in sizes.items()))

    def make(name: str, packages: str = "1", platform: Platform | None = None, created: str | None = None) -> Image:
        def layer(purpose: str, content: str) -> Layer:
            return store.layer(content, lambda: {f"/{purpose}": File(content.encode())}, purpose=purpose)[0]

        model = [
            store.layer(each.recipe.key, partial(each.make, tmp_path), purpose=each.recipe.purpose)[0]
            for each in weights_layers(weights)
        ]
        layers = [layer("Python packages", packages), *model, layer("our code", "code"), layer("its settings", name)]
        facts = {"task": name, "model": "acme/tiny", "weights": weights.digest, "device": "cpu"}
        labels = image_labels(name, BASE, kind="task", settings=name, tool="1", task=facts, created=created)
        return Image.of(image_config("task", BASE, platform or Platform(), labels, created), layers)

    return make


def taken_apart(image: Image) -> Split:
    found = split(image)
    assert found is not None
    return found


def test_every_layer_is_in_one_of_the_two(make_task: MakeTask) -> None:
    image = make_task("chat")
    found = taken_apart(image)
    packages, *weights, code, settings = image.layers
    assert len(weights) == 3
    assert found.weights.layers == tuple(weights)
    assert found.task.layers == (packages, found.task.layers[1], code, settings)
    assert found.task.layers[1].digest == digest_of(found.link)
    assert len(found.link) <= 5 * 1024


@pytest.mark.parametrize("created", [None, "2026-01-01T00:00:00Z"])
def test_the_config_says_of_the_layers_what_they_are(make_task: MakeTask, created: str | None) -> None:
    image = make_task("chat", created=created)
    found = taken_apart(image)
    for part in (found.task, found.weights):
        config, manifest = json.loads(part.config), json.loads(part.manifest)
        assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in part.layers]
        assert [each["created_by"] for each in config["history"]] == [layer.purpose for layer in part.layers]
        assert [each["digest"] for each in manifest["layers"]] == [layer.digest for layer in part.layers]
        assert manifest["config"]["digest"] == digest_of(part.config)
    task = json.loads(found.task.config)
    assert {each.get("created") for each in task["history"]} == {created}
    whole = json.loads(image.config)
    assert {key for key in whole if whole[key] != task[key]} == {"rootfs", "history"}
    assert own_labels(found.task) == own_labels(image)


def test_the_same_weights_are_the_same_image_whatever_uses_them(make_task: MakeTask) -> None:
    tasks = [make_task("chat"), make_task("story", created="2026-01-01T00:00:00Z"), make_task("chat", packages="2")]
    parts = [taken_apart(image) for image in tasks]
    assert len({each.weights.digest for each in parts}) == 1
    assert len({each.task.digest for each in parts}) == 3
    other = taken_apart(make_task("chat", platform=Platform("linux", "arm64")))
    assert other.weights.digest != parts[0].weights.digest
    assert json.loads(other.weights.config)["architecture"] == "arm64"


def test_the_image_of_weights_tells_nothing_of_the_task(make_task: MakeTask) -> None:
    found = taken_apart(make_task("chat"))
    config = json.loads(found.weights.config)
    digest = own_labels(found.task)["weights"]
    assert config["config"] == {
        "Labels": {
            "org.opencontainers.image.title": "weights",
            "model-compose.kind": "weights",
            "model-compose.weights": digest,
        }
    }
    assert "chat" not in found.weights.config.decode()


def test_the_link_leads_where_the_mounted_image_has_the_weights(make_task: MakeTask, store: BlobStore) -> None:
    found = taken_apart(make_task("chat"))
    with tarfile.open(fileobj=io.BytesIO(found.link)) as tar:
        entries = {each.name: (each.type, each.linkname) for each in tar}
    assert entries == {"models": (tarfile.SYMTYPE, "weights/models"), "weights": (tarfile.DIRTYPE, "")}
    assert MOUNT == "/weights"
    small = found.weights.layers[-1]
    with tarfile.open(fileobj=io.BytesIO(store.read(small.digest))) as tar:
        assert all(name == "models" or name.startswith("models/") for name in tar.getnames())


def test_what_has_no_weights_is_not_taken_apart(make_task: MakeTask) -> None:
    image = make_task("chat")
    without = image.of_layers([image.layers[0], image.layers[-1]])
    assert split(without) is None
    assert split(Image.of(ImageConfig(), image.layers)) is None
    assert split(taken_apart(image).task) is None
