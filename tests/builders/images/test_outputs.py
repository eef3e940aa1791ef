"""Images leave the store whole: as a folder, as a file, and into an engine that is sent only what it lacks."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builders.images.archives import whole_archive
from builders.images.compressing import Compression
from builders.images.layout import Image, ImageConfig, Layer, digest_of
from builders.images.outputs import Loaded, Output, load, write_archive, write_layout
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture
def layers(store: BlobStore, tmp_path: Path) -> list[Layer]:
    """A compressed layer, one that refers to a file, and a small one."""
    (tmp_path / "weights").write_bytes(os.urandom(3_000_000))
    return [
        store.layer("1", lambda: {"/bin/sh": File(b"sh")}, purpose="base", compression=Compression.GZIP)[0],
        store.layer("2", lambda: {"/models/w": File(tmp_path / "weights", lasting=True)}, purpose="weights")[0],
        store.layer("3", lambda: {"/task.json": File(b"{}")}, purpose="settings")[0],
    ]


def image_of(layers: Sequence[Layer], user: str = "10001") -> Image:
    return Image.of(ImageConfig(user=user), layers)


def check_blobs(read: Callable[[str], bytes], entry: Mapping[str, Any], image: Image) -> None:
    """Everything that an entry of an index leads to is there, with the right content."""
    manifest = read(entry["digest"])
    assert manifest == image.manifest
    parsed = json.loads(manifest)
    for blob in [parsed["config"], *parsed["layers"]]:
        content = read(blob["digest"])
        assert (digest_of(content), len(content)) == (blob["digest"], blob["size"])


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("docker", Output("docker")),
        ("oci:out/dir", Output("oci", Path("out/dir"))),
        ("archive:/tmp/a:b.tar", Output("archive", Path("/tmp/a:b.tar"))),
    ],
)
def test_a_place_for_images_is_read(text: str, output: Output) -> None:
    assert Output.parse(text) == output


@pytest.mark.parametrize("text", ["", "oci", "oci:", "archive", "docker:", "docker:x", "tar:x", "OCI:x"])
def test_another_place_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no place for images") as caught:
        Output.parse(text)
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_layout_holds_images_by_name_beside_those_that_it_had(
    store: BlobStore, layers: list[Layer], tmp_path: Path
) -> None:
    folder = tmp_path / "out" / "images"
    chat, chat_2, router = image_of(layers), image_of(layers[:2]), image_of(layers[::2])
    counts: list[int] = []
    write_layout({"chat:1": chat, "router:1": router}, store, folder, counts.append)
    assert sum(counts) == sum(layer.size for layer in layers)
    write_layout({"chat:1": chat_2}, store, folder)
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert [entry["annotations"] for entry in index["manifests"]] == [
        {
            "org.opencontainers.image.ref.name": f"{name}:1",
            "io.containerd.image.name": f"docker.io/library/{name}:1",
        }
        for name in ("chat", "router")
    ]
    assert {str(entry["platform"]) for entry in index["manifests"]} == {str({"architecture": "amd64", "os": "linux"})}
    for entry, image in zip(index["manifests"], [chat_2, router], strict=True):
        check_blobs(lambda digest: (folder / "blobs" / digest.replace(":", "/")).read_bytes(), entry, image)
    assert {path.name for path in folder.iterdir()} == {"oci-layout", "index.json", "blobs"}
    linked = folder / "blobs" / layers[0].digest.replace(":", "/")
    assert linked.stat().st_nlink == 2, "a link costs no room"


def test_a_layout_on_another_disk_gets_copies(
    store: BlobStore, layers: list[Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_disk)
    folder, image = tmp_path / "images", image_of(layers)
    write_layout({"chat:1": image}, store, folder)
    entry = json.loads((folder / "index.json").read_bytes())["manifests"][0]
    check_blobs(lambda digest: (folder / "blobs" / digest.replace(":", "/")).read_bytes(), entry, image)


def test_equal_images_make_equal_layouts_and_archives(store: BlobStore, layers: list[Layer], tmp_path: Path) -> None:
    images = {"a:1": image_of(layers), "b:1": image_of(layers[:1])}
    backwards = dict(reversed(images.items()))
    write_layout(images, store, tmp_path / "one")
    write_layout(backwards, store, tmp_path / "two")
    assert (tmp_path / "one" / "index.json").read_bytes() == (tmp_path / "two" / "index.json").read_bytes()
    digest = write_archive(images, store, tmp_path / "one.tar")
    assert write_archive(backwards, store, tmp_path / "two.tar") == digest
    assert digest_of((tmp_path / "one.tar").read_bytes()) == digest


def test_a_folder_that_holds_other_things_is_left_alone(store: BlobStore, layers: list[Layer], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").touch()
    with pytest.raises(UserError, match="is no OCI layout, and not empty") as caught:
        write_layout({"chat:1": image_of(layers)}, store, tmp_path / "home")
    assert caught.value.exit_code is ExitCode.FILE
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_a_file_in_the_place_of_a_layout_is_left_alone(store: BlobStore, layers: list[Layer], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is no folder"):
        write_layout({"chat:1": image_of(layers)}, store, tmp_path / "file")
    with pytest.raises(UserError, match="is a folder"):
        write_archive({"chat:1": image_of(layers)}, store, tmp_path)


def test_weights_that_were_changed_do_not_leave_the_store(
    store: BlobStore, layers: list[Layer], tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    state = weights.stat()
    weights.write_bytes(os.urandom(3_000_000))
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    folder = tmp_path / "images"
    with pytest.raises(UserError, match="the layer of weights is not what it was"):
        write_layout({"chat:1": image_of(layers)}, store, folder)
    assert not (folder / "index.json").exists()
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("write", [write_layout, write_archive])
def test_weights_that_are_gone_are_told(
    store: BlobStore, layers: list[Layer], tmp_path: Path, write: Callable[..., object]
) -> None:
    (tmp_path / "weights").unlink()
    with pytest.raises(UserError, match="the layer of weights is not what it was") as caught:
        write({"chat:1": image_of(layers)}, store, tmp_path / "out" / "images")
    assert caught.value.exit_code is ExitCode.ENVIRONMENT


@pytest.mark.parametrize("write", [write_layout, write_archive])
def test_a_place_that_cannot_be_written_is_told(
    store: BlobStore, layers: list[Layer], tmp_path: Path, write: Callable[..., object]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="out cannot be written: ") as caught:
        write({"chat:1": image_of(layers)}, store, tmp_path / "file" / "out")
    assert caught.value.exit_code is ExitCode.ENVIRONMENT


@pytest.mark.parametrize("kind", ["oci", "archive"])
def test_nothing_is_begun_that_the_disk_has_no_room_for(
    store: BlobStore, layers: list[Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 65 << 20}))
    images = {"chat:1": image_of(layers)}
    write: Callable[..., object] = write_layout if kind == "oci" else write_archive
    with pytest.raises(UserError, match=r"not enough space in .*: 3.0 MB are needed and 68.2 MB are free"):
        write(images, store, tmp_path / "out" / "images")
    assert {path.name for path in tmp_path.glob("out/**/*") if path.is_file()} <= {"oci-layout"}


def test_what_lies_beside_an_archive_stays(store: BlobStore, layers: list[Layer], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".model-compose-notes").write_text("mine")
    (folder / ".model-compose-begun-folder").mkdir()
    (folder / ".model-compose-begun-old").write_text("left by a build that was killed")
    write_archive({"chat:1": image_of(layers)}, store, folder / "images.tar")
    left = sorted(path.name for path in folder.iterdir())
    assert left == [".model-compose-begun-folder", ".model-compose-notes", "images.tar"]


def test_an_archive_is_a_layout_with_what_older_engines_read(
    store: BlobStore, layers: list[Layer], tmp_path: Path
) -> None:
    images = {"chat:1": image_of(layers), "registry.example.com/me/router:2": image_of(layers[:1])}
    counts: list[int] = []
    write_archive(images, store, tmp_path / "new" / "images.tar", counts.append)
    archive = tmp_path / "new" / "images.tar"
    assert sum(counts) == archive.stat().st_size
    assert archive.stat().st_mode & 0o777 == 0o644
    members = read_tar(archive.read_bytes())
    assert json.loads(members["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for entry, image in zip(json.loads(members["index.json"])["manifests"], images.values(), strict=True):
        check_blobs(lambda digest: members[f"blobs/{digest.replace(':', '/')}"], entry, image)
    assert json.loads(members["manifest.json"]) == [
        {
            "Config": f"blobs/{image.config_descriptor.digest.replace(':', '/')}",
            "RepoTags": [name],
            "Layers": [f"blobs/{layer.digest.replace(':', '/')}" for layer in image.layers],
        }
        for name, image in images.items()
    ]
    assert len(members) == 3 + 2 * 2 + 3
    assert [path.name for path in archive.parent.iterdir()] == ["images.tar"]


def read_tar(content: bytes) -> dict[str, bytes]:
    members = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            members[info.name] = file.read()
    return members


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.images.outputs import write_archive, write_layout
from builders.images.store import BlobStore

store, place, write = BlobStore(Path(sys.argv[1])), Path(sys.argv[2]), globals()[sys.argv[3]]
write({"chat:1": store.image("chat:1")}, store, place, lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("write", [write_layout, write_archive])
def test_what_is_killed_leaves_no_name_and_is_finished_by_the_next(
    store: BlobStore, layers: list[Layer], tmp_path: Path, write: Callable[..., object]
) -> None:
    image, folder = image_of(layers), tmp_path / "out"
    place = folder if write is write_layout else folder / "images.tar"
    store.save_image("chat:1", image)
    killed = subprocess.run([sys.executable, "-c", KILLED, store.root, place, write.__name__], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "index.json").exists()
    assert not (folder / "images.tar").exists()
    write({"chat:1": image}, store, place)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert (folder / "index.json").exists() or (folder / "images.tar").exists()


def test_a_layer_that_cannot_be_read_is_no_fault_of_who_takes_it(
    store: BlobStore, layers: list[Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(BlobStore, "open", lambda *_: Broken())
    with pytest.raises(UserError) as caught:
        list(whole_archive({"chat:1": image_of(layers[:1])}, store))
    assert caught.value.message == "the layer of base cannot be read: input/output error"
    assert caught.value.hint == "`model-compose build` makes it again"


class Engine:
    """What an engine does with archives. able: whether it takes one that lacks layers which it has.

    asked: how often for the layers of all its images.
    """

    def __init__(self, *, able: bool = True, renames: bool = False) -> None:
        self.able = able
        self.renames = renames
        self.images: dict[str, tuple[str, ...]] = {}
        self.names: dict[str, str] = {}
        self.archives: list[set[str]] = []
        self.asked = 0

    def layers(self) -> Mapping[str, Sequence[str]]:
        self.asked += 1
        return self.images

    def id(self, reference: str) -> str:
        if reference not in self.images:
            raise UserError("there is no such image", exit_code=ExitCode.ENVIRONMENT)
        return reference

    def folder(self) -> Path | None:
        return None

    def tag(self, image_id: str, name: str) -> None:
        assert image_id in self.images
        self.names[name] = image_id

    def load(self, archive: Iterable[bytes]) -> None:
        members = read_tar(b"".join(archive))
        self.archives.append(set(members))
        (entry,) = json.loads(members["manifest.json"])
        if not self.able and set(entry["Layers"]) - members.keys():
            raise UserError("a layer is missing", exit_code=ExitCode.ENVIRONMENT)
        config = members[entry["Config"]]
        diff_ids = tuple(json.loads(config)["rootfs"]["diff_ids"])
        name = digest_of(b"other" if self.renames else config)
        self.images[name] = diff_ids
        self.names[entry["RepoTags"][0]] = name


def blobs_of(layers: Sequence[Layer]) -> set[str]:
    return {f"blobs/{layer.digest.replace(':', '/')}" for layer in layers}


def test_an_engine_is_sent_what_it_lacks(store: BlobStore, layers: list[Layer]) -> None:
    engine = Engine()
    first, counts = image_of(layers), list[int]()
    loaded = load("chat:1", first, store, engine, counts.append)
    assert (loaded.layers, loaded.size) == (3, sum(counts))
    assert engine.archives[0] >= blobs_of(layers) | {"index.json", "oci-layout", "manifest.json"}
    assert engine.names == {"chat:1": first.config_descriptor.digest}

    assert load("chat:2", first, store, engine) == Loaded(first.config_descriptor.digest, 0, 0)
    assert (len(engine.archives), engine.asked) == (1, 1)
    assert engine.names["chat:2"] == first.config_descriptor.digest

    edited, _ = store.layer("4", lambda: {"/task.json": File(b"[]")}, purpose="settings")
    second = image_of([*layers[:2], edited])
    loaded = load("chat:1", second, store, engine)
    assert (loaded.layers, loaded.size < 10_000) == (1, True)
    config = f"blobs/{second.config_descriptor.digest.replace(':', '/')}"
    assert engine.archives[1] == blobs_of([edited]) | {config, "manifest.json"}
    assert engine.names["chat:1"] == second.config_descriptor.digest


def test_layers_that_follow_others_are_not_those_of_the_engine(store: BlobStore, layers: list[Layer]) -> None:
    engine = Engine()
    load("chat:1", image_of(layers), store, engine)
    assert load("chat:2", image_of(layers[1:]), store, engine).layers == 2


def test_an_engine_that_wants_everything_gets_it(store: BlobStore, layers: list[Layer]) -> None:
    engine = Engine(able=False)
    load("chat:1", image_of(layers), store, engine)
    other = image_of(layers, user="0")
    assert load("chat:2", other, store, engine).layers == 3
    assert [blobs_of(layers) <= archive for archive in engine.archives] == [True, False, True]
    assert engine.names["chat:2"] == other.config_descriptor.digest


def test_an_engine_that_makes_another_image_of_it_is_not_believed(store: BlobStore, layers: list[Layer]) -> None:
    with pytest.raises(UserError, match="has made another image of chat:1") as caught:
        load("chat:1", image_of(layers), store, Engine(renames=True))
    assert caught.value.exit_code is ExitCode.ENVIRONMENT


def test_an_image_is_known_by_its_id_when_a_neighbour_takes_its_name(store: BlobStore, layers: list[Layer]) -> None:
    class Shared(Engine):
        def load(self, archive: Iterable[bytes]) -> None:
            super().load(archive)
            self.names = dict.fromkeys(self.names, "sha256:of-another-folder")

    engine, first, second = Shared(), image_of(layers), image_of(layers, user="0")
    assert load("chat:1", first, store, engine).id == first.config_descriptor.digest
    loaded = load("chat:1", second, store, engine)
    assert (loaded.id, loaded.layers) == (second.config_descriptor.digest, 0)


def test_an_engine_without_room_is_sent_nothing(
    store: BlobStore, layers: list[Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine()
    monkeypatch.setattr(engine, "folder", lambda: tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 68 << 20}))
    with pytest.raises(UserError, match=r"not enough space in .*: 6.0 MB are needed"):
        load("chat:1", image_of(layers), store, engine)
    assert engine.archives == []
