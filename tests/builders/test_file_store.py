"""The store of weights: what is in it stays, whatever else is taken and whoever is killed meanwhile."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from builders.file_store import FileStore
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def written(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "store" / "files").iterdir())


@pytest.mark.parametrize("second", ["second/model.safetensors", f"models--tiny--one/blobs/{SHA256}"])
def test_the_same_content_from_elsewhere_leaves_layers_whole(store: FileStore, tmp_path: Path, second: str) -> None:
    stored = store.take(written(tmp_path / "first" / "model.safetensors"), "first")
    blobs = BlobStore(tmp_path / "images")
    layer, _ = blobs.layer("key", lambda: {"/w": File(stored.path, lasting=True)}, purpose="weights")
    before = stored.path.stat()
    assert store.take(written(tmp_path / second), "second") == stored
    assert (stored.path.stat().st_ino, stored.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert blobs.has(layer.digest, layer.size)


@pytest.mark.parametrize("again", ["second", f"models--tiny--one/blobs/{SHA256}"])
def test_a_stored_file_that_was_cut_is_replaced(store: FileStore, tmp_path: Path, again: str) -> None:
    stored = store.take(written(tmp_path / "first"), "first")
    stored.path.chmod(0o644)
    os.truncate(stored.path, 10)
    assert store.take(written(tmp_path / again), "second") == stored
    assert stored.path.read_bytes() == CONTENT


def test_a_file_of_the_hub_that_cannot_be_linked_is_copied(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "protected")

    source = written(tmp_path / "models--tiny--one" / "blobs" / SHA256)
    monkeypatch.setattr(os, "link", refuse)
    stored = store.take(source, "weights")
    assert (stored.sha256, stored.path.read_bytes(), stored.path.samefile(source)) == (SHA256, CONTENT, False)


def test_a_file_is_read_again_when_it_changed_and_has_its_old_size_and_time(store: FileStore, tmp_path: Path) -> None:
    source = written(tmp_path / "weights")
    time_ns = source.stat().st_mtime_ns
    store.take(source, "weights")
    source.write_bytes(CONTENT[::-1])
    os.utime(source, ns=(time_ns, time_ns))
    assert store.take(source, "weights").sha256 == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("place", ["weights", f"models--tiny--one/blobs/{SHA256}"])
def test_a_file_is_read_once(store: FileStore, tmp_path: Path, place: str) -> None:
    source = written(tmp_path / place)
    stored = store.take(source, "weights")
    assert store.take(source, "weights", lambda _: pytest.fail("read again")) == stored


def test_a_file_that_changes_meanwhile_is_refused(store: FileStore, tmp_path: Path) -> None:
    source = written(tmp_path / "weights")

    def change(_: int) -> None:
        source.write_bytes(b"other")

    with pytest.raises(UserError, match=r"^weights changed while it was read$"):
        store.take(source, "weights", change)


def test_a_model_that_the_disk_has_no_room_for_is_refused_before_it_is_copied(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [tmp_path / "first", tmp_path / "second"]
    linked = tmp_path / "models--tiny--one" / "blobs" / ("1" * 64)
    for path in (*large, linked):
        written(path)
        os.truncate(path, 100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000_000))
    store.check_room([large[0], linked])
    with pytest.raises(UserError, match="200 MB are needed and 200 MB are free") as caught:
        store.check_room([*large, linked])
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert kept(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.file_store import FileStore

FileStore(Path(sys.argv[1])).take(Path(sys.argv[2]), "weights", lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_killed_copy_had_begun_is_gone_after_the_next_one(store: FileStore, tmp_path: Path) -> None:
    source = written(tmp_path / "weights", CONTENT * 1000)
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "store", source], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(kept(tmp_path)) == 1
    stored = store.take(source, "weights")
    assert kept(tmp_path) == [stored.sha256]
