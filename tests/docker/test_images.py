"""A real engine takes our images, runs them, and gives its own to be built on; other tools read them too."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builders.images.base import find_base
from builders.images.compressing import Compression
from builders.images.layout import BaseImage, Image, ImageConfig, Layer, Platform
from builders.images.outputs import Loaded, load, write_archive, write_layout
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.docker.engine import Engine, connect
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.docker

PLATFORM = Platform.of_machine(os.uname().machine)
PROGRAM = (
    "import os; weights = os.stat('/models/w');"
    "print(open('/task.json').read(), weights.st_size, os.getuid(), oct(weights.st_mode))"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def base(base_image: str, store: BlobStore) -> BaseImage:
    return find_base(f"docker-daemon:{base_image}", store, platform=PLATFORM, environ=os.environ)


@pytest.fixture(scope="module")
def weights(store: BlobStore, tmp_path_factory: pytest.TempPathFactory) -> Layer:
    file = tmp_path_factory.mktemp("weights") / "w"
    file.write_bytes(os.urandom(9_000_000))
    return store.layer("weights", lambda: {"/models/w": File(file, lasting=True)}, purpose="weights")[0]


@pytest.fixture
def connected(engine: str) -> Iterator[Engine]:
    client = connect({"DOCKER_HOST": engine})
    yield client
    client.close()


@pytest.fixture
def name(engine: str) -> Iterator[str]:
    """A name that no other test uses; its image is removed."""
    name = f"model-compose-test-{uuid.uuid4().hex[:8]}:1"
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], check=False, capture_output=True, timeout=60)


def image_of(store: BlobStore, base: BaseImage, weights: Layer, settings: str) -> Image:
    config = replace(base.config, user="10001:10001", entrypoint=("python3", "-c", PROGRAM), labels={"task": "chat"})
    packed = Compression.GZIP
    code, _ = store.layer("code", lambda: {"/opt/code.py": File(b"pass")}, purpose="code", compression=packed)
    task, _ = store.layer(settings, lambda: {"/task.json": File(settings.encode())}, purpose="settings")
    return Image.of(config, [*base.layers, code, weights, task])


def docker(*arguments: str | Path) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def run(name: str) -> str:
    return docker("run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", name).strip()


def test_an_engine_loads_an_image_whole_and_then_only_what_is_new(
    connected: Engine, store: BlobStore, base: BaseImage, weights: Layer, name: str
) -> None:
    first = image_of(store, base, weights, uuid.uuid4().hex)
    assert load(name, first, store, connected.images).layers >= 2, "the engine has the base"
    assert run(name).endswith("9000000 10001 0o100644")
    assert load(name, first, store, connected.images) == Loaded(first.config_descriptor.digest, 0, 0)

    settings = uuid.uuid4().hex
    second = image_of(store, base, weights, settings)
    loaded = load(name, second, store, connected.images)
    assert (loaded.layers, loaded.size < 16_000) == (1, True)
    assert connected.images.id(name) == second.config_descriptor.digest
    assert run(name) == f"{settings} 9000000 10001 0o100644"


def test_history_and_labels_look_clean(
    connected: Engine, store: BlobStore, base: BaseImage, weights: Layer, name: str
) -> None:
    load(name, image_of(store, base, weights, "clean"), store, connected.images)
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.CreatedSince}}|{{.Comment}}", name)
    assert history.splitlines() == ["settings|N/A|", "weights|N/A|", "code|N/A|", *["base|N/A|"] * len(base.layers)]
    (found,) = json.loads(docker("image", "inspect", name))
    assert found["Config"]["Labels"] == {"task": "chat"}
    assert (found["Os"], found["Architecture"]) == (PLATFORM.os, PLATFORM.architecture)


def test_an_engine_loads_an_archive(
    engine: str, store: BlobStore, base: BaseImage, weights: Layer, name: str, tmp_path: Path
) -> None:
    image = image_of(store, base, weights, "archived")
    write_archive({name: image}, store, tmp_path / "image.tar")
    assert docker("load", "--quiet", "--input", tmp_path / "image.tar").strip() == f"Loaded image: {name}"
    assert run(name) == "archived 9000000 10001 0o100644"
    assert docker("image", "inspect", "--format", "{{.Id}}", name).strip() == image.config_descriptor.digest


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.images.outputs import load
from builders.images.store import BlobStore
from infra.docker.engine import connect

sent = 0
def count(size):
    global sent
    sent += size
    if sent > 5_000_000:
        os.kill(os.getpid(), signal.SIGKILL)

store, name = BlobStore(Path(sys.argv[1])), sys.argv[2]
load(name, store.image(name), store, connect().images, count)
"""


def test_a_load_that_is_killed_leaves_no_name(
    connected: Engine, store: BlobStore, base: BaseImage, name: str, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(os.urandom(9_000_000))
    fresh, _ = store.layer(name, lambda: {"/models/w": File(tmp_path / "w")}, purpose="weights")
    image = image_of(store, base, fresh, "killed")
    store.save_image(name, image)
    killed = subprocess.run([sys.executable, "-c", KILLED, store.root, name], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError):
        connected.images.id(name)
    load(name, image, store, connected.images)
    assert run(name) == "killed 9000000 10001 0o100644"


def test_skopeo_reads_layouts_and_archives_and_keeps_their_digests(
    store: BlobStore, base: BaseImage, weights: Layer, tmp_path: Path
) -> None:
    image = image_of(store, base, weights, "read")
    images = {"one:1": image, "two:1": image_of(store, base, weights, "another")}
    write_layout(images, store, tmp_path / "layout")
    write_archive({"one:1": image}, store, tmp_path / "image.tar")
    for source in (f"oci:{tmp_path / 'layout'}:one:1", f"oci-archive:{tmp_path / 'image.tar'}"):
        copied = tmp_path / source.partition(":")[0]
        command = ["skopeo", "--insecure-policy", "copy", "--preserve-digests", source, f"dir:{copied}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert (copied / "manifest.json").read_bytes() == image.manifest
    inspected = subprocess.run(
        ["skopeo", "inspect", f"docker-archive:{tmp_path / 'image.tar'}"], check=True, capture_output=True, timeout=60
    )
    assert json.loads(inspected.stdout)["Labels"] == {"task": "chat"}


def test_a_base_in_the_engine_is_pinned_by_its_id_and_read_once(
    base: BaseImage, base_image: str, store: BlobStore, connected: Engine
) -> None:
    image_id = connected.images.id(base_image)
    assert base.digest == image_id
    nobody = {"DOCKER_HOST": "tcp://127.0.0.1:9"}
    reference = f"docker-daemon:{base_image}"
    pinned = find_base(reference, store, platform=PLATFORM, environ=nobody, pinned=image_id)
    assert pinned == base


def test_an_image_of_ours_is_a_base_too(
    connected: Engine, store: BlobStore, base: BaseImage, weights: Layer, name: str, tmp_path: Path
) -> None:
    """The engine writes it down in its own way, and what comes back is the same layers, unpacked."""
    image = image_of(store, base, weights, "below")
    load(name, image, store, connected.images)
    found = find_base(f"docker-daemon:{name}", BlobStore(tmp_path), platform=PLATFORM, environ=os.environ)
    assert found.digest == image.config_descriptor.digest
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in image.layers]
    assert found.config == ImageConfig.from_json(json.loads(image.config))


def test_an_image_that_the_engine_lacks_names_the_option(engine: str, store: BlobStore) -> None:
    with pytest.raises(UserError) as caught:
        find_base("docker-daemon:model-compose/none:1", store, platform=PLATFORM, environ={"DOCKER_HOST": engine})
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert "--base" in (caught.value.hint or "")
