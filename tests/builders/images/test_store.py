"""Layers are made once, blobs are whole or absent, and a build that was killed leaves nothing behind."""

import gzip
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from builders.images.compressing import Compression
from builders.images.layout import BaseImage, Image, ImageConfig, MediaType, digest_of
from builders.images.store import BlobStore, DigestError
from builders.images.tar import Entry, File, Folder, Link
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def files(store: BlobStore) -> list[str]:
    """What the store holds, but for its locks."""
    found = (path.relative_to(store.root) for path in store.root.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != "locks")


def never() -> Mapping[str, Entry]:
    raise AssertionError("the layer is there")


def test_a_layer_is_made_once_for_its_key(store: BlobStore) -> None:
    layer, reused = store.layer("key", lambda: {"/a": File(b"content")}, purpose="code")
    assert not reused
    assert (layer.digest, layer.media_type, layer.purpose) == (layer.diff_id, MediaType.LAYER, "code")
    tar = store.read(layer.digest)
    assert (digest_of(tar), len(tar)) == (layer.digest, layer.size)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert archive.getnames() == ["a"]
    assert BlobStore(store.root).layer("key", never, purpose="code") == (layer, True)


def test_another_key_time_or_compression_is_another_layer(store: BlobStore) -> None:
    made = [
        store.layer("a", lambda: {"/a": Folder()}, purpose="x"),
        store.layer("b", lambda: {"/b": Folder()}, purpose="x"),
        store.layer("a", lambda: {"/a": Folder()}, purpose="x", mtime=9),
        store.layer("a", lambda: {"/a": Folder()}, purpose="x", compression=Compression.GZIP),
    ]
    assert not any(reused for _, reused in made)
    assert len({layer.digest for layer, _ in made}) == 4


def test_a_layer_whose_blob_is_gone_or_cut_short_is_made_again(store: BlobStore) -> None:
    layer, _ = store.layer("key", lambda: {"/a": File(b"content")}, purpose="code")
    blob = store.path(layer.digest)
    assert blob is not None
    for left_bytes in (None, 0, 100):
        blob.chmod(0o644)
        if left_bytes is None:
            blob.unlink()
        else:
            os.truncate(blob, left_bytes)
        assert not store.has(layer.digest, layer.size)
        assert store.layer("key", lambda: {"/a": File(b"content")}, purpose="code") == (layer, False)


def test_a_compressed_layer_holds_the_same_tar(store: BlobStore) -> None:
    tree = {"/a": File(b"content" * 9999)}
    plain, _ = store.layer("key", lambda: tree, purpose="code")
    made, _ = store.layer("key", lambda: tree, purpose="code", compression=Compression.GZIP)
    later = store.compressed(plain, Compression.GZIP)
    assert later == made
    assert (later.diff_id, later.media_type) == (plain.digest, MediaType.LAYER_GZIP)
    assert gzip.decompress(store.read(later.digest)) == store.read(plain.digest)
    assert store.compressed(later, Compression.ZSTD) == later
    assert store.compressed(plain, Compression.NONE) == plain


def test_a_layer_refers_to_files_that_last_and_is_the_same_as_with_copies(store: BlobStore, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(3_000_000))
    tree: dict[str, Entry] = {
        "/models/x/config.json": File(b"{}"),
        "/models/x/w": File(weights, lasting=True),
        "/models/l": Link("x/w"),
    }
    layer, _ = store.layer("lasting", lambda: tree, purpose="weights")
    assert store.path(layer.digest) is None
    assert sum((store.root / name).stat().st_size for name in files(store)) < 10_000
    copied, _ = BlobStore(tmp_path / "other").layer(
        "copied", lambda: {**tree, "/models/x/w": File(weights)}, purpose="weights"
    )
    assert copied == layer
    assert BlobStore(store.root).layer("lasting", never, purpose="weights") == (layer, True)
    content = store.read(layer.digest)
    assert (digest_of(content), len(content)) == (layer.digest, store.size(layer.digest))


def test_a_layer_is_made_again_when_a_file_that_it_refers_to_has_changed(store: BlobStore, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    tree = {"/w": File(weights, lasting=True)}
    first, _ = store.layer("key", lambda: tree, purpose="weights")
    weights.write_bytes(b"another")
    assert not store.has(first.digest)
    second, reused = store.layer("key", lambda: tree, purpose="weights")
    assert (reused, second.digest == first.digest) == (False, False)
    weights.unlink()
    assert not store.has(second.digest)
    with pytest.raises(FileNotFoundError):
        store.open(second.digest)


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_that_is_changed_while_it_is_read_ends_the_build(
    store: BlobStore, tmp_path: Path, lasting: bool
) -> None:
    growing = tmp_path / "growing"
    growing.write_bytes(b"x" * 5_000_000)
    with pytest.raises(UserError, match="growing was changed while it was read") as caught:
        store.layer(
            "key",
            lambda: {"/a": File(growing, lasting=lasting)},
            purpose="code",
            advance=lambda _: os.truncate(growing, 4_000_000),
        )
    assert caught.value.exit_code is ExitCode.FILE
    assert files(store) == []


@pytest.mark.parametrize("lasting", [True, False])
def test_what_is_read_is_told(store: BlobStore, tmp_path: Path, lasting: bool) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    counts: list[int] = []
    tree = {"/a": File(tmp_path / "file", lasting=lasting)}
    store.layer("key", lambda: tree, purpose="x", advance=counts.append)
    assert 3_000_000 <= sum(counts) < 3_010_000


def test_nothing_is_begun_that_the_disk_has_no_room_for(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 65 << 20}))
    with pytest.raises(UserError, match=r"not enough space in .*: 2.0 MB are needed and 68.2 MB are free") as caught:
        store.layer("key", lambda: {"/a": File(b"x" * 2_000_000)}, purpose="code")
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert files(store) == []


def test_of_builds_side_by_side_one_makes_a_layer_and_the_others_take_it(store: BlobStore) -> None:
    made: list[int] = []

    def make() -> Mapping[str, Entry]:
        made.append(1)
        return {"/a": File(b"content" * 100_000)}

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: BlobStore(store.root).layer("key", make, purpose="code"), range(8)))
    assert len(made) == 1
    assert len({layer.digest for layer, _ in results}) == 1
    assert sorted(reused for _, reused in results) == [False] + [True] * 7


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.images.compressing import Compression
from builders.images.store import BlobStore
from builders.images.tar import File

def kill(count):
    os.kill(os.getpid(), signal.SIGKILL)

BlobStore(Path(sys.argv[1])).layer("key", lambda: {"/a": File(b"x" * 9_000_000)}, purpose="code", advance=kill,
    compression=Compression(sys.argv[2]))
"""


@pytest.mark.parametrize("compression", list(Compression))
def test_what_a_killed_build_had_begun_is_gone_after_the_next_one(store: BlobStore, compression: Compression) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, store.root, compression], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name.split("/")[0] for name in files(store)] == ["begun"]
    layer, reused = store.layer("key", lambda: {"/a": File(b"x" * 9_000_000)}, purpose="code", compression=compression)
    assert not reused
    assert store.has(layer.digest, layer.size)
    assert {name.split("/")[0] for name in files(store)} == {"blobs", "layers"}


def test_what_others_are_writing_is_left_alone(store: BlobStore) -> None:
    def meanwhile(_: int) -> None:
        BlobStore(store.root).put(b"another build")

    layer, _ = store.layer("key", lambda: {"/a": File(b"x" * 100)}, purpose="code", advance=meanwhile)
    assert store.has(layer.digest, layer.size)


def test_a_blob_is_kept_only_with_the_digest_that_it_should_have(store: BlobStore) -> None:
    digest = digest_of(b"ab")
    assert store.keep([b"a", b"b"], digest) == (digest, 2)
    with pytest.raises(DigestError):
        store.keep([b"a", b"c"], digest_of(b"else"))
    assert files(store) == [f"blobs/{digest.replace(':', '/')}"]
    assert store.read(digest) == b"ab"
    assert store.has(digest)
    assert not store.has(digest, 3)


@pytest.mark.parametrize("digest", ["", "sha256:../../etc/passwd", "md5:" + "0" * 32, "sha256:" + "A" * 64])
def test_what_is_no_digest_names_no_file(store: BlobStore, digest: str) -> None:
    with pytest.raises(DigestError):
        store.path(digest)


def test_an_image_is_remembered_by_its_name_while_all_of_it_is_there(store: BlobStore) -> None:
    layer, _ = store.layer("key", lambda: {"/a": File(b"content")}, purpose="code")
    image = Image.of(ImageConfig(), [layer])
    assert store.image("chat:latest") is None
    store.save_image("chat:latest", image)
    assert BlobStore(store.root).image("chat:latest") == image
    assert store.read(image.digest) == image.manifest
    blob = store.path(layer.digest)
    assert blob is not None
    blob.unlink()
    assert store.image("chat:latest") is None


def test_a_base_is_remembered_while_all_of_it_is_there(store: BlobStore) -> None:
    layer, _ = store.layer("key", lambda: {"/a": File(b"content")}, purpose="base")
    base = BaseImage("python:3.11-slim", digest_of(b"manifest"), ImageConfig(env={"PATH": "/bin"}), (layer,))
    store.save_base("key", base)
    assert store.base("key") == base
    assert store.base("other") is None
    blob = store.path(layer.digest)
    assert blob is not None
    blob.unlink()
    assert store.base("key") is None


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert BlobStore.of({"MODEL_COMPOSE_CACHE": str(tmp_path)}).root == tmp_path / "images"
    assert BlobStore.of({"XDG_CACHE_HOME": str(tmp_path)}).root == tmp_path / "model-compose" / "images"


def test_a_record_that_was_cut_counts_as_absent(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    tree = {"/w": File(tmp_path / "weights", lasting=True)}
    layer, _ = store.layer("key", lambda: tree, purpose="weights")
    base = BaseImage("base", "sha256:" + "0" * 64, ImageConfig(), (layer,))
    image = Image.of(ImageConfig(), [layer])
    store.save_base("base", base)
    store.save_image("image", image)
    assert store.found("question", lambda: "answer") == "answer"
    for content in ("", '{"digest": "sha', "[]", "null", "{}"):
        for kind in ("layers", "bases", "images", "found"):
            for record in (store.root / kind).iterdir():
                record.chmod(0o644)
                record.write_text(content)
        assert (store.base("base"), store.image("image")) == (None, None)
        assert store.found("question", lambda: "another") == "another"
        assert store.layer("key", lambda: tree, purpose="weights") == (layer, False)
        (composed,) = (path for path in (store.root / "composed").rglob("*") if path.is_file())
        composed.chmod(0o644)
        composed.write_text(content)
        assert not store.has(layer.digest, layer.size)
        assert store.layer("key", lambda: tree, purpose="weights") == (layer, False)


def test_what_was_found_out_is_not_asked_again(store: BlobStore) -> None:
    assert store.found("question", lambda: "answer") == "answer"
    assert BlobStore(store.root).found("question", lambda: pytest.fail("asked again")) == "answer"


def test_who_waits_for_the_layer_of_another_is_told(store: BlobStore) -> None:
    making, waits = threading.Event(), threading.Event()

    def make() -> dict[str, Entry]:
        making.set()
        assert waits.wait(10)
        return {"/a": File(b"a")}

    first = threading.Thread(target=partial(store.layer, "key", make, purpose="x"))
    first.start()
    assert making.wait(10)
    _, reused = store.layer("key", never, purpose="x", waiting=waits.set)
    first.join()
    assert reused
