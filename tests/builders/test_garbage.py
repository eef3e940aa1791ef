"""What nobody needs goes, what an image needs stays, whoever is killed or builds meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.causes import History, Recipe
from builders.file_store import FileStore
from builders.garbage import Garbage, prune
from builders.images.compressing import Compression
from builders.images.layout import BaseImage, Image, ImageConfig, Layer
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.spec import stored_name, stored_project
from infra.errors import UserError
from infra.locks import not_alone

pytestmark = pytest.mark.unit


@dataclass
class Home:
    """A user's cache, and projects beside it."""

    folder: Path

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.folder / "cache" / "images")

    def build(self, project: str, *, model: bytes, code: bytes = b"code") -> Image:
        """An image of a folder of that name, as a build leaves it: on a base, with weights and code of its own."""
        place, store = self.folder / project, self.store
        place.mkdir(exist_ok=True)
        (place / "w").write_bytes(model)
        stored = FileStore(store.root.parent / "weights").take(place / "w", "w")
        name = stored_name(place, "shop/chat:latest")
        layers = [
            self.layer("base", File(b"sh")),
            self.layer(f"weights {stored.sha256}", File(stored.path, lasting=True)),
            self.layer(f"code {code!r}", File(code)),
        ]
        store.save_base("base", BaseImage("debian", layers[0].digest, ImageConfig(), (layers[0],)))
        image = Image.of(ImageConfig(labels={"project": project}), layers)
        History(store.root / "history").keep(name, [Recipe("code", {"our code": code.decode()})])
        store.save_image(name, image)
        store.save_pushed(f"registry.example.com/{project}:latest", image.digest, image.digest)
        (store.root / "proven").mkdir(exist_ok=True)
        (store.root / "proven" / image.digest.removeprefix("sha256:")).touch()
        return image

    def layer(self, key: str, file: File) -> Layer:
        return self.store.layer(key, lambda: {"/file": file}, purpose=key)[0]

    def image(self, project: str) -> Image | None:
        return self.store.image(stored_name(self.folder / project, "shop/chat:latest"))

    def files(self) -> set[str]:
        """Without locks, which hold nothing."""
        cache = self.folder / "cache"
        found = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
        return {name for name in found if "lock" not in name}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def kinds(garbage: Garbage) -> dict[str, int]:
    return {heap.kind: len(heap.paths) for heap in garbage.heaps}


def test_all_of_a_project_that_is_gone_goes_and_nothing_of_another(home: Home) -> None:
    kept = home.build("kept", model=b"one", code=b"kept")
    before = home.files()
    home.build("gone", model=b"two", code=b"gone")
    shutil.rmtree(home.folder / "gone")
    garbage = prune(home.store)
    assert home.files() == before
    assert garbage.gone == {home.folder / "gone": 1}
    assert garbage.needed == {kept.digest, kept.config_descriptor.digest}
    assert {kind: number for kind, number in kinds(garbage).items() if kind != "records"} == {
        "images": 1,
        "layers": 4,  # its manifest, its config, its weights and its code
        "weights": 1,
    }
    assert home.image("kept") == kept
    assert prune(home.store).heaps == ()


def test_what_an_image_was_made_of_before_an_edit_goes(home: Home) -> None:
    home.build("shop", model=b"one", code=b"old")
    new = home.build("shop", model=b"two", code=b"new")
    assert kinds(prune(home.store))["weights"] == 1
    assert home.image("shop") == new
    assert home.build("shop", model=b"two", code=b"new") == new


def test_a_shared_layer_and_its_compressed_form_stay_while_one_image_has_it(home: Home) -> None:
    home.build("gone", model=b"one", code=b"same")
    kept = home.build("kept", model=b"one", code=b"same")
    unpacked = kept.layers[2]
    packed = home.store.compressed(unpacked, Compression.GZIP)
    home.store.compressed(home.layer("unused", File(b"unused")), Compression.GZIP)
    shutil.rmtree(home.folder / "gone")
    garbage = prune(home.store)
    assert kinds(garbage)["layers"] == 4  # manifest and config, and what is unused, in both forms
    assert home.image("kept") == kept
    assert home.store.has(packed.digest, packed.size)


def test_with_everything_nothing_is_left_but_what_can_be_made_again(home: Home) -> None:
    image = home.build("shop", model=b"one")
    home.store.found("question", lambda: "answer")
    garbage = prune(home.store, everything=True)
    assert home.files() == set()
    assert (garbage.gone, garbage.needed) == ({}, frozenset())
    assert home.build("shop", model=b"one") == image


def test_a_dry_run_tells_the_same_and_removes_nothing(home: Home) -> None:
    home.build("gone", model=b"one")
    shutil.rmtree(home.folder / "gone")
    before = home.files()
    told = prune(home.store, dry=True)
    assert home.files() == before
    assert prune(home.store) == told


def test_only_what_no_other_name_holds_counts_as_freed(home: Home, tmp_path: Path) -> None:
    image = home.build("gone", model=b"one")
    shutil.rmtree(home.folder / "gone")
    (alone,) = (heap.size for heap in prune(home.store, dry=True).heaps if heap.kind == "layers")
    code = home.store.path(image.layers[2].digest)
    assert code is not None
    os.link(code, tmp_path / "layout")
    (linked,) = (heap.size for heap in prune(home.store).heaps if heap.kind == "layers")
    assert alone - linked == (tmp_path / "layout").stat().st_size > 0


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"name": "x", "manifest": "sha256:1", "layers": []}'])
def test_broken_records_go(home: Home, content: str) -> None:
    kept = home.build("shop", model=b"one")
    before = home.files()
    for kind in ("images", "layers", "bases"):
        (home.store.root / kind / ("0" * 64)).write_text(content)
    (home.store.root / "composed" / "sha256" / ("0" * 64)).write_text(content)
    prune(home.store)
    assert home.files() == before
    assert home.image("shop") == kept


def test_what_a_killed_build_left_goes(home: Home) -> None:
    home.build("shop", model=b"one")
    before = home.files()
    cache = home.store.root.parent
    (home.store.root / "begun" / ".model-compose-begun-x").write_bytes(b"half")
    (cache / "weights" / "files" / ".model-compose-begun-y").write_bytes(b"half")
    (cache / "work" / "abc" / "work").mkdir(parents=True)
    (cache / "work" / "abc" / "work" / "packages").write_bytes(b"half")
    assert kinds(prune(home.store)) == {"weights": 1, "left behind": 2}
    assert home.files() == before


def test_a_folder_that_may_not_be_looked_at_may_be_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = home.build("shop", model=b"one")
    stat = Path.stat

    def refuse(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == home.folder / "shop":
            raise PermissionError(13, "no")
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refuse)
    prune(home.store)
    assert home.image("shop") == kept


def test_what_is_gone_before_its_turn_is_no_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = home.store.root / "begun"
    (begun / "folder").mkdir(parents=True)
    for path in (begun / "1", begun / "2", begun / "folder" / "file"):
        path.write_bytes(b"x")
    whole = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name in ("1", "file"):
            path.unlink(missing_ok=True)
        return whole(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert kinds(prune(home.store)) == {"left behind": 3}
    assert list(begun.iterdir()) == []


def test_it_waits_for_builds_and_sees_what_they_made(home: Home) -> None:
    home.build("shop", model=b"one")
    waiting = threading.Event()
    pruning = threading.Thread(target=lambda: prune(home.store, waiting=waiting.set))
    with not_alone(home.store.lock):
        home.layer("of a build that runs", File(b"new"))
        pruning.start()
        assert waiting.wait(10)
        new = home.build("shop", model=b"two")
    pruning.join(10)
    assert home.image("shop") == new


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.garbage import prune
from builders.images.store import BlobStore

left, unlink = int(sys.argv[2]), Path.unlink

def count(self, missing_ok=False):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(self, missing_ok)

Path.unlink = count
prune(BlobStore(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_prune_that_is_killed_leaves_what_is_needed_and_the_next_one_ends_it(home: Home, after: int) -> None:
    kept = home.build("kept", model=b"one")
    before = home.files()
    home.build("gone", model=b"two", code=b"other")
    shutil.rmtree(home.folder / "gone")
    command = [sys.executable, "-c", KILLED, str(home.store.root), str(after)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert home.files() > before
    assert home.image("kept") == kept
    prune(home.store)
    assert home.files() == before


def test_where_nothing_was_built_nothing_is_made(home: Home) -> None:
    assert prune(home.store) == Garbage()
    assert not home.store.root.parent.exists()


def test_a_disk_that_refuses_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.build("gone", model=b"one")
    shutil.rmtree(home.folder / "gone")

    def refuse(self: Path, *_: object) -> None:
        raise OSError(30, "read-only", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError) as caught:
        prune(home.store)
    assert caught.value.message == f"{home.store.root.parent} cannot be written: read-only file system"


@pytest.mark.parametrize("folder", ["/home/me/shop", "/home/me/a: b"])
def test_the_project_of_a_stored_image_is_known(folder: str) -> None:
    assert stored_project(stored_name(Path(folder), "shop/chat:1")) == Path(folder)
