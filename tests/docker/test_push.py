"""`model-compose push`, from images in the cache to what skopeo and an engine find in a real registry."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builders.images.layout import Image, digest_of
from builders.images.store import BlobStore
from builders.images.tar import File
from tests.compose.loading import load
from tests.docker.registry import real_registry
from tests.images import keep_image

pytestmark = pytest.mark.docker

COMMAND = Path(sys.executable).with_name("model-compose")
FILE = """
controller: {}
components:
  - {id: chat, type: model, task: chat-completion, model: acme/tiny, default: true}
  - {id: story, type: model, task: text-generation, model: acme/tiny}
"""


def built(folder: Path, name: str) -> Image:
    """An image in the cache as `build` leaves it, over weights that every task has."""
    store = BlobStore.of({"MODEL_COMPOSE_CACHE": str(folder / "cache")})
    (folder / "weights").write_bytes(bytes(4_000_000))
    weights = {"/models/a": File(folder / "weights", lasting=True)}
    layers = [
        store.layer("weights", lambda: weights, purpose="weights: a")[0],
        store.layer(name, lambda: {"/task.json": File(name.encode() * 1000)}, purpose="its settings")[0],
    ]
    project = folder / "shop"
    project.mkdir(exist_ok=True)
    return keep_image(store, load(project, FILE), name.removeprefix("task-"), layers, tag="1")


def push(folder: Path, registry: str, *arguments: str) -> str:
    """What the command prints."""
    project = folder / "shop"
    pushed = subprocess.run(
        [COMMAND, "push", registry, "--tag", "1", *arguments],
        cwd=project,
        env={**os.environ, "MODEL_COMPOSE_CACHE": str(folder / "cache"), "DOCKER_CONFIG": str(folder / "nobody")},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert pushed.returncode == 0, pushed.stderr
    return pushed.stdout


@pytest.mark.parametrize("options", [(), ("--compression", "gzip"), ("--compression", "zstd")], ids=" ".join)
def test_a_push_is_what_its_table_says(tmp_path: Path, options: tuple[str, ...]) -> None:
    images = {name: built(tmp_path, name) for name in ("task-chat", "task-story", "router")}
    with real_registry(tmp_path) as registry:
        table = [line.split() for line in push(tmp_path, registry.name, *options).splitlines()[1:]]
        for (name, image), row in zip(images.items(), table, strict=True):
            place = f"docker://{registry.name}/shop/{name}:1"
            inspected = subprocess.run(
                ["skopeo", "inspect", "--tls-verify=false", place], check=True, capture_output=True, timeout=60
            )
            assert json.loads(inspected.stdout)["Digest"] == row[-1]
            assert (row[-1] == image.digest) is not bool(options)
        weights = images["router"].layers[0].digest.removeprefix("sha256:")
        assert len([path for path, _ in registry.answered("PUT") if weights in path]) == 1


def test_the_parts_of_images_are_made_of_what_is_there(tmp_path: Path) -> None:
    for name in ("task-chat", "task-story"):
        built(tmp_path, name)
    with real_registry(tmp_path) as registry:
        push(tmp_path, registry.name, "chat", "story")
        before = len(registry.answered("PUT"))
        table = [
            line.split() for line in push(tmp_path, registry.name, "chat", "story", "--image-volumes").splitlines()
        ]
        for place, tag, digest in ((row[0], row[1], row[-1]) for row in table[1:]):
            raw = ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{place}:{tag}"]
            manifest = subprocess.run(raw, check=True, capture_output=True, timeout=60).stdout
            assert digest_of(manifest) == digest
        new = [path for path, _ in registry.answered("PUT")[before:]]
    stored = [tmp_path / "store" / "docker/registry/v2/blobs/sha256" / each[:2] / each / "data" for each in _blobs(new)]
    assert len(stored) == 4  # three configs, and the link once
    assert sum(path.stat().st_size for path in set(stored)) < 20_000
    assert [row[0].rpartition("/")[2] for row in table[3:]] == ["weights", "task-chat", "task-story"]


def _blobs(paths: list[str]) -> list[str]:
    return [found for path in paths for found in re.findall(r"/blobs/uploads/.*sha256(?:%3A|:)([0-9a-f]{64})", path)]


def test_an_engine_sees_through_compression(engine: str, tmp_path: Path) -> None:
    image = built(tmp_path, "router")
    with real_registry(tmp_path) as registry:
        push(tmp_path, registry.name, "router", "--compression", "gzip")
        place = f"{registry.name}/shop/router:1"
        try:
            subprocess.run(["docker", "pull", place], check=True, capture_output=True, timeout=60)
            shown = ["docker", "image", "inspect", "--format", "{{.Id}}", place]
            identity = subprocess.run(shown, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
            assert identity == image.config_descriptor.digest
        finally:
            subprocess.run(["docker", "image", "rm", place], check=False, capture_output=True, timeout=60)
