"""Images go to a real registry and come back from it, to the byte."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builders.images.layout import Image, ImageConfig, Platform
from builders.images.reference import Reference
from builders.images.registry import Pusher, pull
from builders.images.repository import Registry, Repository
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.errors import UserError
from tests.docker.registry import PASSWORD, USER, RealRegistry, real_registry
from tests.docker.tokens import token_service
from tests.registry import IDENTITY_TOKEN

pytestmark = pytest.mark.docker

WEIGHTS_BYTES = 8_000_000


@pytest.fixture
def nobody(tmp_path: Path) -> Mapping[str, str]:
    """The environment of somebody who has never logged in."""
    return {"DOCKER_CONFIG": str(tmp_path / "absent")}


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "images")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    with real_registry(tmp_path) as running:
        yield running


def image_of(store: BlobStore, name: str) -> Image:
    """An image with weights that all of them share, and a layer of its own."""
    weights, _ = store.layer("weights", lambda: {"/models/a": File(bytes(WEIGHTS_BYTES))}, purpose="weights")
    task, _ = store.layer(name, lambda: {"/task.json": File(name.encode())}, purpose="task")
    return Image.of(ImageConfig(entrypoint=("/task.json",)), (weights, task))


def skopeo(*arguments: str | Path) -> bytes:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, timeout=60).stdout


def test_weights_that_two_images_share_are_pushed_once(
    registry: RealRegistry, store: BlobStore, nobody: Mapping[str, str]
) -> None:
    one, two = image_of(store, "one"), image_of(store, "two")
    pusher = Pusher(Registry.connect(registry.name, nobody), store)
    pushed = [pusher.push(one, "team/one", "1"), pusher.push(two, "team/two", "1")]
    weights = one.layers[0]
    assert [(each.sent_bytes, each.mounted_bytes) for each in pushed] == [
        (one.size - len(one.manifest), 0),
        (two.size - len(two.manifest) - weights.size, weights.size),
    ]
    name = weights.digest.removeprefix("sha256:")
    sent = [status for path, status in registry.answered("PUT") if name in path]
    mounted = [status for path, status in registry.answered("POST") if name in path and "from=team%2Fone" in path]
    assert (sent, mounted) == ([201], [201])


def test_what_others_read_there_is_what_we_made(
    registry: RealRegistry, store: BlobStore, nobody: Mapping[str, str], tmp_path: Path
) -> None:
    image = image_of(store, "one")
    Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
    place = f"docker://{registry.name}/team/one:1"
    assert skopeo("inspect", "--tls-verify=false", "--raw", place) == image.manifest
    assert json.loads(skopeo("inspect", "--tls-verify=false", place))["Digest"] == image.digest
    copy = tmp_path / "copy"
    skopeo("copy", "--src-tls-verify=false", "--preserve-digests", place, f"oci:{copy}:1")
    assert json.loads((copy / "index.json").read_bytes())["manifests"][0]["digest"] == image.digest


def test_a_base_that_others_pushed_is_pulled(
    registry: RealRegistry, store: BlobStore, nobody: Mapping[str, str], tmp_path: Path
) -> None:
    image = image_of(store, "one")
    Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
    source, target = (f"docker://{registry.name}/{name}" for name in ("team/one:1", "team/base:2"))
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2", source, target)
    ours = BlobStore(tmp_path / "ours")
    base = pull(Reference.parse(f"{registry.name}/team/base:2"), ours, Platform(), nobody)
    assert base.digest == json.loads(skopeo("inspect", "--tls-verify=false", target))["Digest"] != image.digest
    assert [layer.diff_id for layer in base.layers] == [layer.diff_id for layer in image.layers]
    assert all(ours.has(layer.digest, layer.size) for layer in base.layers)


def test_an_engine_runs_what_was_pushed(
    engine: str, registry: RealRegistry, store: BlobStore, nobody: Mapping[str, str]
) -> None:
    image = image_of(store, "one")
    Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
    place = f"{registry.name}/team/one@{image.digest}"
    try:
        subprocess.run(["docker", "pull", place], check=True, capture_output=True, timeout=60)
        shown = subprocess.run(
            ["docker", "image", "inspect", place], check=True, capture_output=True, timeout=60
        ).stdout
        assert json.loads(shown)[0]["RepoDigests"] == [place]
        assert json.loads(shown)[0]["Id"] == image.config_descriptor.digest
    finally:
        subprocess.run(["docker", "image", "rm", place], check=False, capture_output=True, timeout=60)


def test_a_login_of_docker_opens_it(store: BlobStore, nobody: Mapping[str, str], tmp_path: Path) -> None:
    image = image_of(store, "one")
    with real_registry(tmp_path, with_users=True) as registry:
        with pytest.raises(UserError) as caught:
            Registry.connect(registry.name, nobody)
        assert caught.value.message == f"{registry.name} wants a login, and the Docker configuration has none"
        for password, accepted in (("wrong", False), (PASSWORD, True)):
            login = base64.b64encode(f"{USER}:{password}".encode()).decode()
            (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": login}}}))
            pusher = Pusher(Registry.connect(registry.name, {"DOCKER_CONFIG": str(tmp_path)}), store)
            if accepted:
                assert pusher.push(image, "team/one", "1").digest == image.digest
                continue
            with pytest.raises(UserError) as caught:
                pusher.push(image, "team/one", "1")
            assert caught.value.message == (
                f"{registry.name} does not accept the login that the Docker configuration has for it"
            )


@pytest.mark.parametrize("how", ["password", "refresh_token"])
def test_a_token_of_its_service_opens_it(store: BlobStore, tmp_path: Path, how: str) -> None:
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    entry = {"auth": login} if how == "password" else {"identitytoken": IDENTITY_TOKEN}
    one, two = image_of(store, "one"), image_of(store, "two")
    with token_service() as tokens, real_registry(tmp_path, tokens=tokens) as registry:
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.name: entry}}))
        pusher = Pusher(Registry.connect(registry.name, {"DOCKER_CONFIG": str(tmp_path)}), store)
        assert pusher.push(one, "team/one", "1").digest == one.digest
        assert pusher.push(two, "team/two", "1").mounted_bytes == two.layers[0].size
        assert set(tokens.asked) == {how}
        with pytest.raises(UserError) as caught:
            pusher.push(one, "others/one", "1")
        assert caught.value.message == f"{registry.name} denies access to others/one"


def test_a_registry_that_is_read_only_is_told(store: BlobStore, nobody: Mapping[str, str], tmp_path: Path) -> None:
    image = image_of(store, "one")
    with real_registry(tmp_path, read_only=True) as registry:
        with pytest.raises(UserError) as caught:
            Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
        assert caught.value.message == (
            f"{registry.name} takes no images: it is read-only or only a cache of another registry"
        )


def test_a_push_that_was_ended_goes_on(
    registry: RealRegistry, store: BlobStore, nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    image = image_of(store, "one")
    pusher = Pusher(Registry.connect(registry.name, nobody), store)
    with monkeypatch.context() as patch:
        patch.setattr(Repository, "put_manifest", end)
        with pytest.raises(KeyboardInterrupt):
            pusher.push(image, "team/one", "1")
    again = Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
    assert (again.digest, again.sent_bytes) == (image.digest, 0)
    name = image.layers[0].digest.removeprefix("sha256:")
    assert [status for path, status in registry.answered("PUT") if name in path] == [201]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_registry_with_a_full_disk_is_told(store: BlobStore, nobody: Mapping[str, str], tmp_path: Path) -> None:
    image = image_of(store, "one")
    (tmp_path / "store").mkdir()
    mount = f'mount -t tmpfs -o size=2m tmpfs "{tmp_path}/store" && exec "$@"'
    with real_registry(tmp_path, inside=("unshare", "--mount", "sh", "-c", mount, "sh")) as registry:
        with pytest.raises(UserError) as caught:
            Pusher(Registry.connect(registry.name, nobody), store).push(image, "team/one", "1")
        assert caught.value.message == f"the disk of {registry.name} is full, so team/one cannot be pushed"
        assert [path for path, _ in registry.answered("PUT") if "/manifests/" in path] == []
