"""A base image comes from a registry whole, for the right platform, and as its digest says; or not at all."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builders.images import registry_errors
from builders.images.layout import Image, ImageConfig, MediaType, Platform, digest_of, exact_json
from builders.images.reading import NotAnImageError
from builders.images.reference import Reference
from builders.images.registry import pull
from builders.images.store import BlobStore
from builders.images.tar import File, Tree
from infra.errors import ExitCode, UserError
from tests.registry import FakeRegistry, Fault

pytestmark = pytest.mark.server

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
AMD64, ARM64 = Platform(), Platform("linux", "arm64", "v8")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_errors, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def nobody(tmp_path: Path) -> Mapping[str, str]:
    """The environment of somebody who has never logged in."""
    return {"DOCKER_CONFIG": str(tmp_path / "absent")}


class Served:
    """A registry that has `library/base`, and the store of somebody who wants it."""

    def __init__(self, registry: FakeRegistry, folder: Path) -> None:
        self.registry = registry
        self.theirs = BlobStore(folder / "theirs")
        self.store = BlobStore(folder / "ours")
        self.blobs = registry.blobs.setdefault("library/base", {})
        self.manifests = registry.manifests.setdefault("library/base", {})
        self.moved: list[int] = []
        self.expected: list[int] = []

    def put_image(self, tag: str, platform: Platform = AMD64, media_type: str = MediaType.MANIFEST) -> Image:
        """An image of two layers for the platform."""
        layers = [
            self.theirs.layer(text, partial(_file, text), purpose=text)[0]
            for text in ("root", f"python-{platform.architecture}")
        ]
        image = Image.of(ImageConfig(platform, env={"PATH": "/bin"}, user="app"), layers)
        self.blobs[digest_of(image.config)] = image.config
        self.blobs.update((layer.digest, self.theirs.read(layer.digest)) for layer in layers)
        self.put(tag, media_type, image.manifest)
        return image

    def put(self, tag: str, media_type: str, content: bytes) -> str:
        digest = digest_of(content)
        self.manifests[tag] = self.manifests[digest] = (media_type, content)
        return digest

    def put_index(self, tag: str, images: Mapping[Platform, Image], media_type: str = MediaType.INDEX) -> str:
        entries = [{**image.descriptor.to_json(), "platform": platform.to_json()} for platform, image in images.items()]
        return self.put(tag, media_type, exact_json({"schemaVersion": 2, "manifests": entries}))

    def pull(self, what: str, environ: Mapping[str, str], platform: Platform = AMD64) -> Any:
        reference = Reference.parse(f"{self.registry.name}/library/base{what}")
        return pull(reference, self.store, platform, environ, self.moved.append, self.expected.append)


def _file(text: str) -> Tree:
    return {f"/{text}": File(text.encode() * 100_000)}


@pytest.mark.parametrize("media_type", [MediaType.MANIFEST, DOCKER_MANIFEST])
def test_a_base_comes_whole(tmp_path: Path, nobody: Mapping[str, str], media_type: str) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3", media_type=media_type)
        base = served.pull(":3", nobody)
        assert base.digest == image.digest
        assert base.config == ImageConfig(AMD64, env={"PATH": "/bin"}, user="app")
        assert [(layer.digest, layer.diff_id, layer.size) for layer in base.layers] == [
            (layer.digest, layer.diff_id, layer.size) for layer in image.layers
        ]
        for layer in base.layers:
            assert served.store.read(layer.digest) == served.blobs[layer.digest]
        assert sum(served.moved) == sum(layer.size for layer in image.layers)
        served.pull(":3", nobody)
        assert served.expected == [sum(served.moved), 0]


@pytest.mark.parametrize("media_type", [MediaType.INDEX, DOCKER_LIST])
def test_an_index_leads_to_the_platform(tmp_path: Path, nobody: Mapping[str, str], media_type: str) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        images = {platform: served.put_image(str(platform), platform) for platform in (ARM64, AMD64)}
        served.put_index("3", images, media_type)
        assert served.pull(":3", nobody).digest == images[AMD64].digest
        assert served.pull(":3", nobody, Platform("linux", "arm64")).digest == images[ARM64].digest
        with pytest.raises(
            NotAnImageError, match=r"it holds no image for linux/s390x, but linux/amd64, linux/arm64/v8"
        ):
            served.pull(":3", nobody, Platform("linux", "s390x"))


def test_a_pinned_base_that_is_here_needs_no_registry(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        index = served.put_index("index", {AMD64: image})
        by_index = served.pull(f"@{index}", nobody)
        assert by_index.digest == image.digest
        asked = len(registry.requests)
        assert served.pull(f"@{index}", nobody) == served.pull(f"@{image.digest}", nobody) == by_index
        assert len(registry.requests) == asked


def test_a_base_that_everybody_may_read_needs_no_login(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry(auth="token", open_to_read=True) as registry:
        served = Served(registry, tmp_path)
        assert served.put_image("3").digest == served.pull(":3", nobody).digest


def test_a_moved_tag_fetches_only_what_is_new(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        served.put_image("3")
        served.pull(":3", nobody)
        moved = served.put_image("3", ARM64)
        registry.requests.clear()
        assert served.pull(":3", nobody, ARM64).digest == moved.digest
        fetched = [request.path.rpartition("/")[2] for request in registry.asked("GET", "*/blobs/*")]
        assert fetched == [digest_of(moved.config), moved.layers[1].digest]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_line_that_breaks_is_taken_up_where_it_broke(
    tmp_path: Path, nobody: Mapping[str, str], resumes: bool
) -> None:
    with FakeRegistry(resumes=resumes) as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        large = image.layers[1]
        registry.faults.append(Fault("GET", f"*/blobs/{large.digest}", times=2))
        served.pull(":3", nobody)
        assert served.store.read(large.digest) == served.blobs[large.digest]
        first, *others = registry.asked("GET", f"*/blobs/{large.digest}")
        assert first.range is None
        assert [bool(request.range) for request in others] == [True, True]
        assert sum(served.moved) == sum(layer.size for layer in image.layers)


def test_changed_content_is_fetched_anew_and_then_refused(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        digest = image.layers[0].digest
        registry.faults.append(Fault("GET", f"*/blobs/{digest}", times=5, changed=True))
        with pytest.raises(UserError) as caught:
            served.pull(":3", nobody)
        assert caught.value.message == (
            f"a layer of {registry.name}/library/base is damaged: what came is not what its digest says"
        )
        assert not served.store.has(digest)
        assert served.pull(":3", nobody).digest == image.digest


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        served.manifests[image.digest] = (MediaType.MANIFEST, image.manifest + b" ")
        with pytest.raises(UserError, match=r"^the manifest of .* is damaged: it is not the one that was asked for$"):
            served.pull(f"@{image.digest}", nobody)


@pytest.mark.parametrize(
    ("media_type", "content", "why"),
    [
        (MediaType.MANIFEST, b"{}", "its manifest or its config is broken"),
        (MediaType.MANIFEST, b"[" * 5000, "its manifest or its config is broken"),
        (
            MediaType.MANIFEST,
            b'{"config": {"mediaType": "a", "digest": "b", "size": 99999999}}',
            "its config is too large",
        ),
        *(
            (
                MediaType.MANIFEST,
                b'{"config": {"mediaType": "a", "digest": "b", "size": %s}}' % size,
                "it has a blob whose size is no number of bytes",
            )
            for size in (b"9.5", b"-1", b"null", b'"9"')
        ),
        (MediaType.INDEX, b'{"manifests": 3}', "its index is broken"),
        (
            MediaType.INDEX,
            exact_json({"manifests": [{"mediaType": MediaType.MANIFEST, "digest": "../../v2/"}]}),
            "its index is broken",
        ),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            b"{}",
            "it is of the kind 'application/vnd.docker",
        ),
    ],
)
def test_what_is_no_image_is_refused(
    tmp_path: Path, nobody: Mapping[str, str], media_type: str, content: bytes, why: str
) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        served.put("3", media_type, content)
        with pytest.raises(NotAnImageError, match=why):
            served.pull(":3", nobody)


def test_a_hostile_manifest_writes_nothing_outside_the_store(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        for digest in ("sha256:../../../../etc/passwd", "sha512:" + "0" * 128, "md5:0", ""):
            manifest = json.loads(image.manifest)
            manifest["layers"][0]["digest"] = digest
            served.put("bad", MediaType.MANIFEST, json.dumps(manifest).encode())
            with pytest.raises(NotAnImageError, match="whose digest is none of SHA-256"):
                served.pull(":bad", nobody)
        assert registry.asked("GET", "*etc*") == []


def test_an_image_that_is_not_there_is_told(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        with pytest.raises(UserError) as caught:
            served.pull(":4", nobody)
        assert caught.value.message == f"{registry.name} has no image library/base"
        assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_body_without_an_end_is_not_taken(tmp_path: Path, nobody: Mapping[str, str]) -> None:
    with FakeRegistry() as registry:
        served = Served(registry, tmp_path)
        image = served.put_image("3")
        served.blobs[image.layers[0].digest] = os.urandom(image.layers[0].size + 1)
        with pytest.raises(UserError, match="does not answer as a registry does"):
            served.pull(":3", nobody)
