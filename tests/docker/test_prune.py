"""Of a real engine's images only those are unused that are ours, have no name, and no container was made from."""

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from builders.container import OWN_LABELS
from builders.images.layout import Image, ImageConfig, Layer, Platform
from builders.images.outputs import load
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.docker.engine import Engine
from infra.docker.images import Unused

pytestmark = pytest.mark.docker

PADDING = 300_000


def test_only_images_of_ours_that_nobody_uses_go(docker: Engine, tmp_path: Path) -> None:
    store, mine = BlobStore(tmp_path), f"model-compose-test.{uuid.uuid4().hex}"
    labels = {**dict.fromkeys(OWN_LABELS, "x"), mine: "yes"}
    shared, _ = store.layer("shared", lambda: {"/shared": File(b"x" * PADDING)}, purpose="shared")

    def given(what: str, labels: dict[str, str]) -> str:
        """An image of its own in the engine; returns its id."""
        own, _ = store.layer(what, lambda: {"/own": File(what.encode() * PADDING)}, purpose="own")
        image = image_of(labels, shared, own)
        load(f"{mine}:{what}", image, store, docker.images)
        return image.config_descriptor.digest

    named, unnamed, foreign, used = (
        given("named", labels),
        given("unnamed", labels),
        given("foreign", {mine: "yes", "model-compose.kind": "x"}),
        given("used", labels),
    )
    for what in ("unnamed", "foreign", "used"):
        load(f"{mine}:{what}", image_of({mine: what}, shared), store, docker.images)
    container = docker.create("used", f"{mine}-used", {"Image": used, "Cmd": ["nothing"]})
    try:
        assert docker.images.unused({*OWN_LABELS, mine}) == [Unused(unnamed, len("unnamed") * PADDING)]
        assert not docker.images.remove(used), "a container has it"
        assert docker.images.remove(unnamed)
        assert not docker.images.remove(unnamed), "it is gone"
        assert docker.images.unused({*OWN_LABELS, mine}) == []
        assert {named, foreign, used} <= docker.images.layers().keys()
    finally:
        docker.remove(container)
        ours = ["docker", "image", "ls", "--all", "--quiet", "--no-trunc", "--filter", f"label={mine}"]
        ids = subprocess.run(ours, check=True, capture_output=True, text=True, timeout=60).stdout.split()
        subprocess.run(["docker", "image", "rm", "--force", *set(ids)], check=True, capture_output=True, timeout=60)


def image_of(labels: dict[str, str], *layers: Layer) -> Image:
    return Image.of(ImageConfig(platform=Platform.of_machine(os.uname().machine), labels=labels), layers)
