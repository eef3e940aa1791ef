"""Packages are made for the Python that the base image really has."""

import gzip
import io
import tarfile
from functools import partial
from pathlib import Path

import pytest

from builders.base_python import python_of
from builders.images.compressing import Compression
from builders.images.layout import BaseImage, ImageConfig, Layer, MediaType
from builders.images.store import BlobStore
from builders.images.tar import Entry, File, Link
from infra.errors import ExitCode, UserError
from tests.builders.images.tars import HOSTILE

pytestmark = pytest.mark.unit


def base_of(store: BlobStore, *trees: dict[str, Entry], **env: str) -> BaseImage:
    layers = [store.layer(str(number), partial(dict, tree), purpose="base")[0] for number, tree in enumerate(trees)]
    return BaseImage("some:base", "sha256:" + "0" * 64, ImageConfig(env=env), tuple(layers))


OFFICIAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN: dict[str, Entry] = {"usr/bin/python3": Link("python3.11"), "usr/bin/python3.11": File(b"", executable=True)}
LOCAL: dict[str, Entry] = {"usr/local/bin/python3": Link("python3.12"), "usr/local/bin/python3.12": File(b"")}


def test_it_is_where_python3_leads(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, DEBIAN, {"etc/motd": File(b"hello")}), store) == "3.11"


def test_one_in_usr_local_comes_first(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, {**DEBIAN, **LOCAL}), store) == "3.12"


def test_official_images_say_it_themselves(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, {}, PYTHON_VERSION="3.13.2"), store) == "3.13"


@pytest.mark.parametrize("compression", list(Compression))
def test_layers_may_be_compressed(tmp_path: Path, compression: Compression) -> None:
    store = BlobStore(tmp_path)
    layer, _ = store.layer("key", lambda: DEBIAN, purpose="base", compression=compression)
    assert python_of(BaseImage("some:base", "sha256:" + "0" * 64, ImageConfig(), (layer,)), store) == "3.11"


@pytest.mark.parametrize(
    ("path", "version"),
    [(OFFICIAL_PATH, "3.12"), ("/usr/bin:/usr/local/bin", "3.11"), ("/opt/bin:/opt/python/bin", "3.13")],
)
def test_the_first_in_path_counts_whatever_layer_it_is_in(tmp_path: Path, path: str, version: str) -> None:
    store = BlobStore(tmp_path)
    first: dict[str, Entry] = {
        **LOCAL,
        "opt/python/bin/python3": Link("python3.13"),
        "opt/python/bin/python3.13": File(b""),
    }
    assert python_of(base_of(store, first, DEBIAN, PATH=path), store) == version


def test_alternatives_are_followed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    tree: dict[str, Entry] = {
        "usr/bin/python3": Link("/etc/alternatives/python3"),
        "etc/alternatives/python3": Link("/usr/bin/python3.12"),
        "usr/bin/python3.12": File(b""),
    }
    assert python_of(base_of(store, tree), store) == "3.12"


def test_what_a_layer_removes_is_gone(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    lower, upper = base_of(store, {**DEBIAN, **LOCAL}).layers[0], tmp_path / "upper.tar"
    for number, removed in enumerate(("usr/local/bin/.wh.python3", "usr/.wh.local", "usr/local/bin/.wh..wh..opq")):
        with tarfile.open(upper, "w") as tar:
            tar.addfile(tarfile.TarInfo(f"./{removed}"))
        digest, size = store.keep([upper.read_bytes()])
        layers = (lower, Layer(digest, digest, size, MediaType.LAYER, "base"))
        assert python_of(BaseImage("some:base", f"sha256:{number:064}", ImageConfig(), layers), store) == "3.11"


@pytest.mark.parametrize("spelled", ["/", "./", ".//"])
def test_paths_may_be_spelled_in_any_way(tmp_path: Path, spelled: str) -> None:
    store = BlobStore(tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo(f"{spelled}usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, "python3.11"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(f"{spelled}usr/bin/python3.11"))
    digest, size = store.keep([buffer.getvalue()])
    layer = Layer(digest, digest, size, MediaType.LAYER, "base")
    assert python_of(BaseImage("some:base", digest, ImageConfig(), (layer,)), store) == "3.11"


def test_layers_are_read_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    base = base_of(store, DEBIAN)
    assert python_of(base, store) == "3.11"
    path = store.path(base.layers[0].digest)
    assert path is not None
    path.unlink()
    assert python_of(base, store) == "3.11"


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        (MediaType.LAYER, b"no tar" * 999),
        (MediaType.LAYER_GZIP, b"no gzip" * 999),
        (MediaType.LAYER_GZIP, gzip.compress(b"tar" * 999)[:-20]),
        (MediaType.LAYER_ZSTD, b"no zstd" * 999),
        *((MediaType.LAYER, content) for content in HOSTILE.values()),
    ],
)
def test_a_damaged_layer_is_refused(tmp_path: Path, media_type: MediaType, content: bytes) -> None:
    store = BlobStore(tmp_path)
    digest, size = store.keep([content])
    layer = Layer(digest, digest, size, media_type, "base")
    with pytest.raises(UserError) as caught:
        python_of(BaseImage("some:base", digest, ImageConfig(), (layer,)), store)
    assert (caught.value.message, caught.value.exit_code) == (
        "a layer of the base image some:base cannot be read: it is damaged",
        ExitCode.FILE,
    )


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "the base image some:base has no python3"),
        (
            {"usr/bin/python3": Link("python3.9"), "usr/bin/python3.9": File(b"")},
            "the base image some:base has Python 3.9, which is too old",
        ),
    ],
)
def test_a_base_without_a_fitting_python_is_refused(tmp_path: Path, tree: dict[str, Entry], message: str) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(UserError) as caught:
        python_of(base_of(store, tree), store)
    assert (caught.value.message, caught.value.exit_code) == (message, ExitCode.ENVIRONMENT)
