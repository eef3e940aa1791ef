"""A base is found wherever it is, is pinned, and is read once; what is none says so and names --base."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders.images.archives import whole_archive
from builders.images.base import find_base
from builders.images.compressing import Compression
from builders.images.layout import BaseImage, Image, ImageConfig, Layer, Platform, digest_of, exact_json
from builders.images.outputs import write_layout
from builders.images.reading import NotAnImageError, choose_manifest, layers_of
from builders.images.store import BlobStore
from builders.images.tar import File, Link
from infra.errors import ExitCode, UserError
from tests.builders.images.tars import HOSTILE, tar_of

pytestmark = pytest.mark.unit

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CONFIG = ImageConfig(env={"PATH": "/bin"}, command=("sh",))


@pytest.fixture
def other(tmp_path: Path) -> BlobStore:
    """Where the base was made."""
    return BlobStore(tmp_path / "other")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture
def image(other: BlobStore) -> Image:
    """A base of a small layer and a large one, which is compressed."""
    layers = [
        other.layer("1", lambda: {"/usr/bin/sh": File(b"sh"), "/bin": Link("usr/bin")}, purpose="x")[0],
        other.layer(
            "2",
            lambda: {"/usr/lib/large": File(bytes(range(256)) * 9000)},
            purpose="x",
            compression=Compression.GZIP,
        )[0],
    ]
    return Image.of(CONFIG, layers)


def find(reference: str, store: BlobStore, platform: Platform = AMD64, pinned: str | None = None) -> BaseImage:
    return find_base(reference, store, platform=platform, environ={}, pinned=pinned)


def based_on(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    return tuple(replace(layer, purpose="base") for layer in layers)


def test_an_oci_layout_is_a_base(image: Image, other: BlobStore, store: BlobStore, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    write_layout({"base:1": image}, other, folder)
    base = find(f"oci:{folder}", store)
    assert base == BaseImage(f"oci:{folder}", image.digest, CONFIG, based_on(image.layers))
    for layer in base.layers:
        assert digest_of(store.read(layer.digest)) == layer.digest
    assert find(str(folder), store) == replace(base, reference=str(folder))
    for layer in image.layers:
        (folder / "blobs" / layer.digest.replace(":", "/")).unlink()
    assert find(f"oci:{folder}", store) == base, "its layers are read once"
    shutil.rmtree(folder)
    assert find(f"oci:{folder}", store, pinned=base.digest) == base, "nobody is asked for what is pinned and here"


def test_what_docker_saves_is_a_base(image: Image, other: BlobStore, store: BlobStore, tmp_path: Path) -> None:
    archive = tmp_path / "base.tar"
    archive.write_bytes(b"".join(whole_archive({"base:1": image}, other)))
    base = find(f"archive:{archive}", store)
    config = image.config_descriptor.digest
    assert base == BaseImage(f"archive:{archive}", config, CONFIG, based_on(image.layers))


def test_what_older_engines_save_is_a_base(image: Image, other: BlobStore, store: BlobStore, tmp_path: Path) -> None:
    """Engine 20.10 writes a folder for each layer, with links where two are the same."""
    layer = image.layers[0]
    config = Image.of(CONFIG, [layer, layer]).config
    members: list[tuple[str, bytes | str]] = [
        ("aa/VERSION", b"1.0"),
        ("aa/layer.tar", other.read(layer.digest)),
        ("bb/layer.tar", "../aa/layer.tar"),
        ("cc.json", config),
        ("manifest.json", exact_json([{"Config": "cc.json", "Layers": ["aa/layer.tar", "bb/layer.tar"]}])),
    ]
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    base = find(f"archive:{tmp_path / 'base.tar'}", store)
    assert (base.digest, base.layers) == (digest_of(config), based_on((layer, layer)))


@pytest.fixture
def root_tar(image: Image, other: BlobStore) -> bytes:
    return other.read(image.layers[0].digest)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_root_file_system_is_a_base(
    root_tar: bytes, store: BlobStore, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "root.tar.x"
    file.write_bytes(pack(root_tar))
    base = find(f"tar:{file}", store, ARM64)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    diff_id = digest_of(root_tar)
    assert base == BaseImage(
        f"tar:{file}",
        digest_of(file.read_bytes()),
        ImageConfig(ARM64, {"PATH": path}),
        (Layer(diff_id, diff_id, len(root_tar), "application/vnd.oci.image.layer.v1.tar", "base"),),
    )
    assert store.read(diff_id) == root_tar
    assert find(str(file), store, ARM64) == replace(base, reference=str(file))


def test_the_same_base_from_another_place_makes_the_same_image(
    image: Image, other: BlobStore, store: BlobStore, tmp_path: Path
) -> None:
    write_layout({"base:1": image}, other, tmp_path / "one")
    write_layout({"base:2": image}, other, tmp_path / "two")
    one, two = find(f"oci:{tmp_path / 'one'}", store), find(f"oci:{tmp_path / 'two'}", store)
    assert Image.of(one.config, one.layers) == Image.of(two.config, two.layers)


def entry(architecture: str, digest: str = "", variant: str | None = None) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest or architecture,
        "platform": {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})},
    }


def test_of_an_index_the_image_for_the_platform_is_taken() -> None:
    provenance = {**entry("unknown"), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"manifests": [provenance, entry("amd64"), entry("arm64", variant="v8"), entry("arm", variant="v7")]}
    assert choose_manifest(index, AMD64)["digest"] == "amd64"
    assert choose_manifest(index, ARM64)["digest"] == "arm64"
    plain = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "plain"}
    assert choose_manifest({"manifests": [plain]}, ARM64)["digest"] == "plain"


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ({"manifests": [entry("arm64"), entry("s390x")]}, "no image for linux/amd64, but linux/arm64, linux/s390x"),
        ({"manifests": []}, "no image for linux/amd64, but nothing"),
        ({}, "no image for linux/amd64, but nothing"),
        ({"manifests": [entry("amd64", "1"), entry("amd64", "2")]}, "several images for linux/amd64"),
    ],
)
def test_an_index_without_one_image_for_the_platform_is_refused(index: Mapping[str, Any], why: str) -> None:
    with pytest.raises(NotAnImageError, match=why):
        choose_manifest(index, AMD64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": "md5:" + "0" * 32}, "digest is none of SHA-256"),
        ({"digest": "sha256:../../secret"}, "digest is none of SHA-256"),
        ({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, "a layer of the kind"),
        ({"mediaType": None}, "a layer of the kind None"),
        *(({"size": size}, "a blob whose size is no number of bytes") for size in ("9", None, 9.0, -1, True)),
    ],
)
def test_layers_that_we_cannot_take_are_refused(image: Image, change: Mapping[str, Any], why: str) -> None:
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert layers_of(manifest, config) == based_on(image.layers)
    manifest["layers"][0] |= change
    with pytest.raises(NotAnImageError, match=why):
        layers_of(manifest, config)


def test_layers_that_manifest_and_config_tell_differently_are_refused(image: Image) -> None:
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"].pop()
    with pytest.raises(NotAnImageError, match="do not tell the same layers"):
        layers_of(json.loads(image.manifest), config)
    with pytest.raises(NotAnImageError, match="do not tell the same layers"):
        layers_of({}, {})


def test_an_image_for_another_platform_is_refused(
    image: Image, other: BlobStore, store: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "base.tar").write_bytes(b"".join(whole_archive({"base:1": image}, other)))
    with pytest.raises(UserError, match="it is an image for linux/amd64, not for linux/arm64"):
        find(f"archive:{tmp_path / 'base.tar'}", store, ARM64)


def damage_layer(folder: Path, image: Image) -> None:
    blob = folder / "blobs" / image.layers[0].digest.replace(":", "/")
    content = bytearray(blob.read_bytes())
    content[600] ^= 1
    blob.unlink()
    blob.write_bytes(content)


def damage_config(folder: Path, image: Image) -> None:
    (folder / "blobs" / image.config_descriptor.digest.replace(":", "/")).write_bytes(b"{}")


def remove_layer(folder: Path, image: Image) -> None:
    (folder / "blobs" / image.layers[1].digest.replace(":", "/")).unlink()


def break_index(folder: Path, image: Image) -> None:
    (folder / "index.json").write_text('{"manifests": [{"mediaType"')


def nest_index(folder: Path, image: Image) -> None:
    (folder / "index.json").write_text("[" * 100_000)


def misjudge_layer(folder: Path, image: Image) -> None:
    """Every digest is right, and the size of one layer is not."""
    manifest = json.loads(image.manifest)
    manifest["layers"][0]["size"] += 1
    changed, index = exact_json(manifest), folder / "index.json"
    (folder / "blobs" / digest_of(changed).replace(":", "/")).write_bytes(changed)
    index.write_text(index.read_text().replace(image.digest, digest_of(changed)))


def lead_out(folder: Path, image: Image) -> None:
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace(image.digest, "sha256:../../../../etc/passwd"))


def unmark(folder: Path, image: Image) -> None:
    (folder / "oci-layout").unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_layer, "its blob sha256:[0-9a-f]{64} is damaged"),
        (damage_config, "its blob sha256:[0-9a-f]{64} is damaged"),
        (remove_layer, "its blob sha256:[0-9a-f]{64} is absent"),
        (break_index, "its index, manifest or config is broken"),
        (nest_index, "its index, manifest or config is broken"),
        (misjudge_layer, "its blob sha256:[0-9a-f]{64} is not of the size that its manifest says"),
        (lead_out, "'sha256:../../../../etc/passwd' is no digest"),
        (unmark, "it is no OCI layout"),
    ],
)
def test_a_damaged_layout_is_refused(
    image: Image,
    other: BlobStore,
    store: BlobStore,
    tmp_path: Path,
    damage: Callable[[Path, Image], None],
    why: str,
) -> None:
    folder = tmp_path / "layout"
    write_layout({"base:1": image}, other, folder)
    damage(folder, image)
    with pytest.raises(UserError, match=why) as caught:
        find(f"oci:{folder}", store)
    assert caught.value.exit_code is ExitCode.FILE
    assert "--base" in (caught.value.hint or "")


def test_a_root_need_not_name_its_folders(store: BlobStore, tmp_path: Path) -> None:
    for number, name in enumerate(("usr/bin/sh", "./usr/bin/sh", "/usr/bin/sh", ".//usr/bin/sh")):
        content = tar_of(**{name: b"sh"})
        (tmp_path / f"{number}.tar").write_bytes(content)
        assert find(f"tar:{tmp_path / f'{number}.tar'}", store).layers[0].diff_id == digest_of(content)


def test_a_root_that_the_disk_has_no_room_for_is_refused_on_the_way(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root.tar").write_bytes(gzip.compress(tar_of(**{"usr/bin/sh": bytes(9_000_000)})))
    left = iter([200_000_000, 150_000_000, 60_000_000])
    monkeypatch.setattr("infra.space.shutil.disk_usage", lambda _: SimpleNamespace(free=next(left)))
    with pytest.raises(UserError, match="not enough space in ") as caught:
        find(f"tar:{tmp_path / 'root.tar'}", store)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert not [path for path in store.root.rglob("*") if path.is_file()]


DEEP = b"[" * 100_000
MANY = {"manifest.json": exact_json([{}, {}])}


@pytest.mark.parametrize(
    "content", [b"", b"no tar", tar_of(letter=b"x"), tar_of(usr=b"x")[:600], bytes(9000), *HOSTILE.values()]
)
@pytest.mark.parametrize("kind", ["tar", "archive"])
def test_a_file_that_holds_something_else_is_refused(
    content: bytes, kind: str, store: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=r"is no base to build on: it ") as caught:
        find(f"{kind}:{tmp_path / 'file'}", store)
    assert caught.value.exit_code is ExitCode.FILE
    assert "--base" in (caught.value.hint or "")


def test_an_archive_whose_list_is_too_deep_is_refused(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tar_of(**{"manifest.json": DEEP}))
    with pytest.raises(UserError, match="it is no archive of an image, or a broken one"):
        find(f"archive:{tmp_path / 'file'}", store)


def test_an_archive_of_several_images_is_refused(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tar_of(**MANY))
    with pytest.raises(UserError, match="it holds 2 images"):
        find(f"archive:{tmp_path / 'file'}", store)


@pytest.mark.parametrize("kind", ["oci", "archive", "tar"])
def test_a_base_that_is_not_there_names_the_option(kind: str, store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file or folder") as caught:
        find(f"{kind}:{tmp_path / 'none'}", store)
    assert caught.value.exit_code is ExitCode.FILE
    assert "--base" in (caught.value.hint or "")


def test_a_registry_that_nobody_reaches_names_the_option(store: BlobStore) -> None:
    with pytest.raises(UserError) as caught:
        find("127.0.0.1:9/python:3.11-slim", store)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert "--base docker-daemon:NAME, oci:DIR, archive:FILE, tar:FILE" in (caught.value.hint or "")


def test_an_engine_that_nobody_reaches_names_the_option(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: Mapping[str, str]) -> None:
        raise UserError("there is no engine", hint="start it", exit_code=ExitCode.ENVIRONMENT)

    monkeypatch.setattr("infra.docker.engine.connect", absent)
    with pytest.raises(UserError, match="there is no engine") as caught:
        find("docker-daemon:python:3.11-slim", store)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert (caught.value.hint or "").startswith("start it, or name another base: --base ")


@pytest.mark.parametrize("reference", ["", "Python:3", "docker-daemon:", "docker-daemon:../x", "https://x/y", "a b"])
def test_what_is_no_reference_is_refused(reference: str, store: BlobStore) -> None:
    with pytest.raises(UserError, match="is not the name of an image"):
        find(reference, store)


def saved(config: bytes, *layers: bytes) -> bytes:
    """An archive as engines write them."""
    members = {"config.json": config, **{f"{number}.tar": layer for number, layer in enumerate(layers)}}
    paths = [name for name in members if name.endswith(".tar")]
    members["manifest.json"] = exact_json([{"Config": "config.json", "Layers": paths}])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("compression", list(Compression))
def test_layers_of_an_archive_are_checked(
    other: BlobStore, store: BlobStore, tmp_path: Path, compression: Compression
) -> None:
    layer, _ = other.layer("1", lambda: {"/a": File(os.urandom(999))}, purpose="x", compression=compression)
    config, blob = Image.of(CONFIG, [layer]).config, other.read(layer.digest)
    archive = tmp_path / "base.tar"
    archive.write_bytes(saved(config, blob))
    assert find(f"archive:{archive}", store).layers == based_on((layer,))
    changed = bytearray(blob)
    changed[len(blob) // 2] ^= 1
    for damaged in (bytes(changed), blob[:-9]):
        archive.write_bytes(saved(config, damaged))
        with pytest.raises(UserError, match="is no base to build on: a layer of it is damaged") as caught:
            find(f"archive:{archive}", store)
        assert caught.value.exit_code is ExitCode.FILE


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_root_that_is_damaged_is_refused(
    other: BlobStore, store: BlobStore, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    layer, _ = other.layer("1", lambda: {"/usr/bin/sh": File(b"sh" * 9999)}, purpose="x")
    packed = bytearray(pack(other.read(layer.digest)))
    for place in (-6, len(packed) // 2):
        damaged = packed.copy()
        damaged[place] ^= 0xFF
        (tmp_path / "root.tar").write_bytes(damaged)
        with pytest.raises(UserError, match="is no base to build on: it is no tar, or a broken one"):
            find(f"tar:{tmp_path / 'root.tar'}", store)
