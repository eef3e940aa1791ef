"""Images are built from their recipes: equal wherever and whenever, and each layer once.

Packages and, but for one test, BentoML's own build are stand-ins; base, weights and code are real.
"""

import errno
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builders import baking, contents, gathering
from builders.bento import BentoInputs, make_bento, settings_text
from builders.build import build
from builders.code import code_for, tool_version
from builders.garbage import prune
from builders.headers import tensors_of
from builders.images.layout import Image
from builders.images.store import BlobStore
from builders.images.tar import Entry, File, Link, Tree, write_tar
from builders.lock import Lock, LockedModel
from builders.packages.layer import PackagesLayer
from builders.packages.resolving import Package, Resolution
from builders.packages.wanted import Wanted
from builders.spec import BuildOptions, BuildSpec, Built, BuiltLayer, stored_name
from builders.weights import ModelSource, Resolved, resolve
from infra.errors import ExitCode, UserError
from tests.builders.conftest import MakeFolder
from tests.hub import TOKEN, FakeHub, Fault

pytestmark = pytest.mark.server

BASE: dict[str, Entry] = {
    "usr/bin/python3": Link("python3.11"),
    "usr/bin/python3.11": File(b"an interpreter", executable=True),
    "etc/os-release": File(b"NAME=tiny"),
}


class _Buffer(io.BytesIO):
    def write_file(self, path: Path, size: int, /) -> object:
        return self.write(path.read_bytes())


@dataclass
class Said:
    """What a listener was told, a line each."""

    layers: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def step(self, image: str, what: str, progress: float | None = None) -> None:
        self.steps.append(what)

    def layer(self, image: str, built: BuiltLayer) -> None:
        self.layers.append(f"{image}: {built.layer.purpose}: {'reused' if built.reused else 'new'}, {built.cause}")

    def note(self, image: str, text: str) -> None:
        self.notes.append(f"{image}: {text}")

    def built(self, image: Built) -> None:
        self.layers.append(f"{image.reference} is built")


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(wanted: Wanted, *_: object) -> Resolution:
        return Resolution(wanted.digest, (Package("bentoml", "1.4.39", ("0" * 64,)),))

    def make(self: PackagesLayer, folder: Path, *_: object) -> Tree:
        folder.mkdir(parents=True)
        (folder / "bentoml.py").write_text(f"for = {self.wanted.kind!r}")
        return {"/opt/model-compose/packages/bentoml.py": File(folder / "bentoml.py")}

    monkeypatch.setattr(gathering, "resolve_packages", resolved)
    monkeypatch.setattr(contents, "make_bento", make_bento_quickly)
    monkeypatch.setattr(PackagesLayer, "make", make)
    monkeypatch.setattr(baking, "LARGE_BYTES", 10_000)


def make_bento_quickly(inputs: BentoInputs, target: Path) -> None:
    (target / "src").mkdir(parents=True)
    (target / "bento.yaml").write_text(inputs.version)
    (target / "src" / "task.json").write_text(settings_text(inputs.settings))


class Project:
    """A folder of its own with a base, a model and a store."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.environ = {"MODEL_COMPOSE_CACHE": str(folder / "cache"), "HOME": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        base = _Buffer()
        write_tar(BASE, base)
        (folder / "base.tar").write_bytes(base.getvalue())

    @property
    def store(self) -> BlobStore:
        return BlobStore.of(self.environ)

    def image(self, reference: str) -> Image | None:
        """What the store has by that name, of this folder."""
        return self.store.image(stored_name(self.folder, reference))

    def task(self, name: str = "writer", **changes: Any) -> BuildSpec:
        settings = {"id": name, "task": "text-generation", "model": "tiny/one", "model_path": str(self.model)}
        config = json.loads((self.model / "config.json").read_text())
        found = Resolved(self.model, "1" * 40, config)
        return BuildSpec(
            name=f"task-{name}",
            repository=f"demo/task-{name}",
            kind="task",
            settings=json.dumps({**settings, **changes}),
            model=found,
        )

    def router(self, prompt: str = "Tell me") -> BuildSpec:
        settings = json.dumps({"components": [], "workflows": [], "env": {"PROMPT": prompt}})
        return BuildSpec(name="router", repository="demo/router", kind="router", settings=settings)

    def build(self, *specs: BuildSpec, **changes: Any) -> tuple[list[Built], Said]:
        said = Said()
        options = BuildOptions(
            lock=self.folder / "model-compose.lock",
            environ=self.environ,
            **{"base": f"tar:{self.folder / 'base.tar'}", **changes},
        )
        return build(specs, options, said), said


@pytest.fixture
def project(tmp_path: Path, make_folder: MakeFolder) -> Project:
    return Project(tmp_path / "project", make_folder())


def members(store: BlobStore, image: Image) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for layer in image.layers:
        with store.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                yield member, content.read() if content else b""


def test_a_task_image_from_base_to_settings(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "make_bento", make_bento)
    (image,), said = project.build(project.task())
    assert said.layers == [
        "task-writer: base: new, not built before",
        "task-writer: Python packages: new, not built before",
        "task-writer: weights: model.safetensors: new, not built before",
        "task-writer: the small files of the model: new, not built before",
        "task-writer: our code: new, not built before",
        "task-writer: the bill of materials: new, not built before",
        "task-writer: the task's settings and its Bento: new, not built before",
        "demo/task-writer:latest is built",
    ]
    files = {member.name: content for member, content in members(project.store, image.image)}
    settings = json.loads(files["opt/model-compose/task.json"])
    assert settings.pop("model_path").startswith("/models/")
    assert settings == {"id": "writer", "task": "text-generation", "model": "tiny/one"}
    assert files["opt/model-compose/bento/src/task.json"] == files["opt/model-compose/task.json"]
    wanted = {f"opt/model-compose/bento/src/{name}" for name in code_for("task").files}
    assert wanted <= files.keys()
    assert {"opt/model-compose/bento/bento.yaml", "opt/model-compose/bento/src/service.py"} <= files.keys()
    assert not [name for name in files if "router" in name]
    bill = json.loads(files["opt/model-compose/sbom.cdx.json"])
    assert {part["name"] for part in bill["components"]} == {"bentoml", "model-compose", "tiny/one", "base image"}


def test_a_task_images_config(project: Project) -> None:
    (image,), _ = project.build(project.task())
    config = json.loads(image.image.config)
    weights = config["config"]["Labels"].pop("model-compose.weights")
    assert [len(config["config"]["Labels"].pop(f"model-compose.{name}")) > 0 for name in ("settings", "version")]
    assert config["config"]["Labels"].pop("org.opencontainers.image.version") == tool_version()
    base = config["config"]["Labels"].pop("org.opencontainers.image.base.digest")
    assert base.startswith("sha256:")
    assert config["config"]["Labels"] == {
        "model-compose.device": "cpu",
        "model-compose.kind": "task",
        "model-compose.model": "tiny/one",
        "model-compose.revision": "1" * 40,
        "model-compose.task": "text-generation",
        "org.opencontainers.image.title": "task-writer",
    }
    assert config["config"]["User"] == "10001:10001"
    assert config["config"]["StopSignal"] == "SIGTERM"
    assert config["config"]["Entrypoint"] == [
        *("python3", "-P", "-m", "services.entry", "/opt/model-compose/task.json"),
        *("--host", "::", "--port", "3000"),
    ]
    assert {
        "BENTOML_DO_NOT_TRACK=True",
        "BENTOML_HOME=/tmp/bentoml",
        "HF_HUB_OFFLINE=1",
        "HOME=/tmp",
        "PYTHONDONTWRITEBYTECODE=1",
        "TRANSFORMERS_OFFLINE=1",
        "USER=model",
    } <= set(config["config"]["Env"])
    assert "created" not in config
    assert not [entry for entry in config["history"] if "created" in entry]
    names = [member.name for member, _ in members(project.store, image.image)]
    assert f"models/{weights}/config.json" in names


def test_the_router_has_neither_the_engine_nor_the_tasks(project: Project) -> None:
    (image,), said = project.build(project.router())
    assert said.layers == [
        "router: base: new, not built before",
        "router: Python packages: new, not built before",
        "router: our code: new, not built before",
        "router: the bill of materials: new, not built before",
        "router: its settings: new, not built before",
        "demo/router:latest is built",
    ]
    names = {member.name for member, _ in members(project.store, image.image)}
    assert "opt/model-compose/code/services/router/app.py" in names
    assert not [name for name in names if "services/engine" in name or "services/tasks" in name]


def test_another_base_is_a_reason_of_its_own(project: Project) -> None:
    project.build(project.router())
    base = _Buffer()
    write_tar({**BASE, "etc/motd": File(b"hello")}, base)
    (project.folder / "base.tar").write_bytes(base.getvalue())
    _, said = project.build(project.router())
    assert said.layers[:2] == [
        "router: base: new, the base image changed",
        "router: Python packages: reused, nothing in it has changed",
    ]


def test_a_large_layer_tells_how_far_it_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.counter._BETWEEN_S", 0.0)
    told: list[float | None] = []

    def step(self: Said, image: str, what: str, progress: float | None = None) -> None:
        if what == "making the layer of weights: model.safetensors":
            told.append(progress)

    monkeypatch.setattr(Said, "step", step)
    project.build(project.task())
    assert (told[0], told[1], told[-1]) == (None, 0.0, 1.0)


def test_a_layer_of_packages_that_is_not_compiled_is_told_once_and_one_that_is_reused_has_no_step(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builders.packages.compiling.find_python", lambda *_: None)
    _, said = project.build(project.router())
    (note,) = said.notes
    assert note.startswith("router: there is no Python 3.11 for linux/")
    assert "making the layer of Python packages" in said.steps
    _, said = project.build(project.router())
    assert (said.notes, [step for step in said.steps if step.startswith("making")]) == ([], [])


def test_a_second_build_writes_nothing_and_asks_nobody(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, _), _ = project.build(project.task(), project.router())
    blobs = {path: path.stat().st_mtime_ns for path in project.store.root.rglob("*") if path.parent.name == "sha256"}
    monkeypatch.setattr(PackagesLayer, "make", lambda *_: pytest.fail("made again"))
    (again, _), said = project.build(project.task(), project.router())
    assert (again.image.manifest, again.image.config) == (first.image.manifest, first.image.config)
    assert {line.rpartition(": ")[2] for line in said.layers if ": " in line} == {"reused, nothing in it has changed"}
    after = {path: path.stat().st_mtime_ns for path in project.store.root.rglob("*") if path.parent.name == "sha256"}
    assert after == blobs


def test_another_folder_user_and_umask_give_the_same_digest(
    project: Project, tmp_path: Path, make_folder: MakeFolder
) -> None:
    (first, router), _ = project.build(project.task(), project.router())
    before = os.umask(0o077)
    try:
        other = Project(tmp_path / "elsewhere" / "project", make_folder("the same elsewhere"))
        (again, router_again), _ = other.build(other.task(), other.router())
    finally:
        os.umask(before)
    assert (again.image.digest, router_again.image.digest) == (first.image.digest, router.image.digest)


def test_two_tasks_over_one_model_share_everything_but_what_is_their_own(project: Project) -> None:
    (writer, reader), said = project.build(project.task(), project.task("reader"))
    assert [first.layer for first in writer.layers[:-2]] == [second.layer for second in reader.layers[:-2]]
    assert said.layers[7:] == [
        "task-reader: base: reused, another image has it",
        "task-reader: Python packages: reused, another image has it",
        "task-reader: weights: model.safetensors: reused, another image has it",
        "task-reader: the small files of the model: reused, another image has it",
        "task-reader: our code: reused, another image has it",
        "task-reader: the bill of materials: new, not built before",
        "task-reader: the task's settings and its Bento: new, not built before",
        "demo/task-writer:latest is built",
        "demo/task-reader:latest is built",
    ]


def test_a_prompt_changes_one_small_layer_of_the_router_and_no_task(project: Project) -> None:
    (task, router), _ = project.build(project.task(), project.router())
    (task_after, router_after), said = project.build(project.task(), project.router("Tell us"))
    assert task_after.image.digest == task.image.digest
    assert "router: its settings: new, its settings changed" in said.layers
    changed = [built.layer for built in router_after.layers if built.layer not in router.image.layers]
    assert [layer.size <= 16 << 10 for layer in changed] == [True]


def test_a_setting_of_a_task_changes_its_last_layer_only(project: Project) -> None:
    (before,), _ = project.build(project.task())
    (after,), said = project.build(project.task(max_queue_length=2))
    assert "task-writer: the task's settings and its Bento: new, its settings changed" in said.layers
    assert after.image.layers[:-1] == before.image.layers[:-1]
    assert after.image.layers[-1].size <= 64 << 10


def test_a_line_of_our_code_leaves_weights_and_packages_alone(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,), _ = project.build(project.task())
    ours = tmp_path / "ours"
    for name, content in code_for("task").files.items():
        (ours / name).parent.mkdir(parents=True, exist_ok=True)
        (ours / name).write_bytes(content)
    (ours / "services" / "errors.py").write_text((ours / "services" / "errors.py").read_text() + "\n# more\n")
    monkeypatch.setattr("builders.contents.code_for", lambda kind: code_for(kind, ours))
    (after,), said = project.build(project.task())
    assert said.layers[:7] == [
        "task-writer: base: reused, nothing in it has changed",
        "task-writer: Python packages: reused, nothing in it has changed",
        "task-writer: weights: model.safetensors: reused, nothing in it has changed",
        "task-writer: the small files of the model: reused, nothing in it has changed",
        "task-writer: our code: new, our code changed",
        "task-writer: the bill of materials: reused, nothing in it has changed",
        "task-writer: the task's settings and its Bento: new, our code changed",
    ]
    assert after.image.layers[:-3] == before.image.layers[:-3]


def test_every_file_belongs_to_root_and_has_no_time(project: Project) -> None:
    (image,), _ = project.build(project.task())
    for member, _ in members(project.store, image.image):
        assert (member.uid, member.gid, member.mtime, member.uname, member.pax_headers) == (0, 0, 0, "", {})
        assert member.mode in (0o644, 0o755, 0o777)


def test_a_private_model_is_fetched_with_the_token_that_found_it(project: Project, tmp_path: Path) -> None:
    with FakeHub({"tiny/private": project.model}, faults={"tiny/private": Fault("private")}) as hub:
        project.environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        source = ModelSource(repository="tiny/private", token=TOKEN)
        found = resolve(source, task="text-generation", environ=project.environ)
        (image,), said = project.build(replace(project.task(), model=found))
        commit = hub.commit("tiny/private")
    assert json.loads(image.image.config)["config"]["Labels"]["model-compose.revision"] == commit
    assert "downloading tiny/one" in said.steps


def test_nothing_of_the_machine_is_in_an_image(project: Project) -> None:
    images, _ = project.build(project.task(), project.router())
    place = str(project.folder.parent).encode()
    assert not [built for built in images if place in built.image.config + built.image.manifest]
    assert not [
        member.name for built in images for member, content in members(project.store, built.image) if place in content
    ]


def test_a_build_that_is_ended_leaves_no_image_and_goes_on_where_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("builders.contents.make_bento", end)
        with pytest.raises(KeyboardInterrupt):
            project.build(project.task())
    assert project.image("demo/task-writer:latest") is None
    assert not list((project.folder / "cache" / "work").glob("*/"))
    _, said = project.build(project.task())
    assert [line.rpartition(": ")[2].partition(",")[0] for line in said.layers[:7]] == ["reused"] * 6 + ["new"]


def test_images_get_their_names_together_once_the_lock_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that names never stand for images of two states of a file, nor for what no lock tells."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    references = ("demo/task-writer:latest", "demo/router:latest")
    before, _ = project.build(project.task(), project.router())
    for place in ("builders.contents.settings_layer", "builders.gathering.alone_in"):
        with monkeypatch.context() as patch:
            patch.setattr(place, end)
            with pytest.raises(KeyboardInterrupt):
                project.build(project.task(max_queue_length=2), project.router("Tell us"))
        assert [project.image(reference) for reference in references] == [built.image for built in before]


def test_two_folders_with_images_of_one_name_keep_their_own(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "elsewhere" / "project", project.model)
    other.environ["MODEL_COMPOSE_CACHE"] = project.environ["MODEL_COMPOSE_CACHE"]
    (mine,), _ = project.build(project.router())
    (theirs,), _ = other.build(other.router("Tell us"))
    assert mine.reference == theirs.reference
    assert (project.image(mine.reference), other.image(mine.reference)) == (mine.image, theirs.image)


def test_an_image_is_known_by_its_tag(project: Project) -> None:
    (image,), _ = project.build(project.router(), tag="v1.2")
    assert image.reference == "demo/router:v1.2"
    assert project.image("demo/router:v1.2") == image.image


@pytest.mark.parametrize("name", ["Router", "a\nRUN x", "x && y", "$(x)", "../x", "", "router\n"])
def test_a_name_that_is_none_is_refused(project: Project, name: str) -> None:
    with pytest.raises(UserError) as service:
        replace(project.router(), name=name)
    with pytest.raises(UserError) as image:
        replace(project.router(), repository=name)
    assert (service.value.exit_code, image.value.exit_code) == (ExitCode.FILE, ExitCode.FILE)


@pytest.mark.parametrize("tag", ["", "a b", "x\n", "-x", "x" * 129, "$(x)", "x;y"])
def test_a_tag_that_is_none_is_refused(project: Project, tag: str) -> None:
    with pytest.raises(UserError) as caught:
        project.build(project.router(), tag=tag)
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_time_can_be_given_to_an_image_and_leaves_its_large_layers_alone(project: Project) -> None:
    project.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    (image,), _ = project.build(project.task())
    config = json.loads(image.image.config)
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert config["config"]["Labels"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert {member.mtime for member, _ in members(project.store, image.image)} == {0, 1700000000}
    project.environ["SOURCE_DATE_EPOCH"] = "1700000001"
    _, said = project.build(project.task())
    assert [line for line in said.layers if ": new, " in line] == [
        f"task-writer: {layer}: new, the time of its files changed"
        for layer in ("our code", "the bill of materials", "the task's settings and its Bento")
    ]


def test_what_is_no_time_is_refused_before_anything_is_brought_here(project: Project) -> None:
    project.environ["SOURCE_DATE_EPOCH"] = "yesterday"
    with pytest.raises(UserError, match="which is no time"):
        project.build(project.router())
    assert not (project.folder / "cache").exists()


def test_what_cannot_be_read_or_written_is_told_apart(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        def read(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(gathering, "read_set", read)

    weights, stored = project.model / "model.safetensors", project.folder / "cache" / "weights" / "files" / "1"
    said = []
    for path in (weights, stored):
        refuse(path)
        with pytest.raises(UserError) as caught:
            project.build(project.task())
        said.append((caught.value.message, caught.value.exit_code))
    assert said == [
        (f"{weights} cannot be read: permission denied", ExitCode.FILE),
        (f"{project.folder / 'cache'} cannot be written: permission denied", ExitCode.ENVIRONMENT),
    ]
    assert "MODEL_COMPOSE_CACHE" in (caught.value.hint or "")


def test_the_lock_holds_what_came_from_elsewhere_and_is_the_same_again(project: Project) -> None:
    project.build(project.task(), project.router())
    text = (project.folder / "model-compose.lock").read_text()
    lock = Lock.parse(text)
    assert lock.models["tiny/one"].revision == "1" * 40
    assert sorted(lock.models["tiny/one"].files) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert lock.models["tiny/one"].weights_bytes == (project.model / "model.safetensors").stat().st_size
    assert lock.models["tiny/one"].parameters == sum(
        tensor.elements for tensor in tensors_of(project.model / "model.safetensors")
    )
    assert len(lock.bases) == 1
    assert len(lock.packages) == 2
    state = (project.folder / "model-compose.lock").stat().st_mtime_ns
    project.build(project.task(), project.router(), locked=True)
    project.build(project.router())
    assert (project.folder / "model-compose.lock").read_text() == text
    assert (project.folder / "model-compose.lock").stat().st_mtime_ns == state


def test_what_a_killed_build_left_beside_the_lock_goes_and_nobody_elses_file(project: Project) -> None:
    ours, editors = (project.folder / f".model-compose.lock.{end}" for end in ("123-456", "swp"))
    ours.touch()
    editors.touch()
    project.build(project.router())
    assert (ours.exists(), editors.exists()) == (False, True)


def test_two_commits_of_one_model_stand_in_the_lock_whatever_is_built_first(project: Project) -> None:
    other = Resolved(project.model, "2" * 40, {})
    named = replace(project.task("reader"), model=other, revision="v2")
    project.build(named)
    project.build(project.task(), named)
    lock = Lock.read(project.folder / "model-compose.lock")
    assert lock is not None
    assert {name: model.revision for name, model in lock.models.items()} == {
        "tiny/one": "1" * 40,
        "tiny/one at v2": "2" * 40,
    }


def test_a_base_in_the_project_is_the_same_wherever_the_project_lies(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.build(project.router(), base="tar:base.tar")
    moved = Project(tmp_path / "moved" / "project", project.model)
    shutil.copy(project.folder / "model-compose.lock", moved.folder)
    moved.build(moved.router(), base="tar:base.tar", locked=True)
    lock = Lock.read(moved.folder / "model-compose.lock")
    assert lock is not None
    assert [name.partition(" for ")[0] for name in lock.bases] == ["tar:base.tar"]
    monkeypatch.chdir(tmp_path)
    (moved.folder / "base.tar").unlink()
    with pytest.raises(UserError) as caught:
        moved.build(moved.router(), base="tar:base.tar")
    place = "tar:moved/project/base.tar"
    assert caught.value.message == f"{place} is no base to build on: there is no such file or folder"


def test_what_another_build_wrote_into_the_lock_meanwhile_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.folder / "model-compose.lock"

    def meanwhile(inputs: BentoInputs, target: Path) -> None:
        path.write_text(Lock("0", models={"tiny/theirs": LockedModel("3" * 40, {})}).text)
        make_bento_quickly(inputs, target)

    monkeypatch.setattr(contents, "make_bento", meanwhile)
    project.build(project.task())
    assert list(Lock.parse(path.read_text()).models) == ["tiny/one", "tiny/theirs"]


def test_what_the_lock_names_is_not_asked_for_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.build(project.router())
    monkeypatch.setattr(gathering, "resolve_packages", lambda *_: pytest.fail("asked an index"))
    project.build(project.router())


def test_a_locked_build_refuses_another_model_before_it_makes_anything(project: Project) -> None:
    with pytest.raises(UserError, match="--locked needs"):
        project.build(project.task(), locked=True)
    project.build(project.router())
    with pytest.raises(UserError) as caught:
        project.build(project.router(), project.task(), locked=True)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert caught.value.message == "model-compose.lock does not fit: it does not have the model tiny/one"
    project.build(project.router(), project.task())
    other = Resolved(project.model, "2" * 40, {}, prepare=("builders.absent",))
    with pytest.raises(UserError) as caught:
        project.build(replace(project.task(), model=other), locked=True)
    assert caught.value.message == f"model-compose.lock does not fit: tiny/one is at {'2' * 40}, not {'1' * 40}"
    (project.model / "tokenizer.json").write_text('{"other": 1}')
    with pytest.raises(UserError) as caught:
        project.build(project.task(), locked=True)
    assert caught.value.message == "model-compose.lock does not fit: tokenizer.json of tiny/one has changed"


def test_a_locked_build_asks_nobody_before_it_has_looked_at_the_lock(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.build(project.router())

    def refusal(**changes: Any) -> str:
        with pytest.raises(UserError) as caught:
            project.build(project.router(), locked=True, **changes)
        return caught.value.message.removeprefix("model-compose.lock does not fit: ")

    with monkeypatch.context() as patch:
        patch.setattr(gathering, "find_base", lambda *_, **__: pytest.fail("asked a registry"))
        assert refusal(base="registry.example/base").startswith("it does not have the base registry.example/base for ")
        patch.setattr("builders.gathering.tool_version", lambda: "0.0")
        patch.setattr("builders.lock.tool_version", lambda: "0.0")
        assert refusal() == f"model-compose is 0.0, not {tool_version()}"
    monkeypatch.setattr(gathering, "resolve_packages", lambda *_: pytest.fail("asked an index"))
    monkeypatch.setattr(Wanted, "digest", "0" * 64)
    assert refusal().startswith("the requirements of router for ")


def test_an_image_has_the_files_of_the_lock_and_no_others(project: Project) -> None:
    (before,), _ = project.build(project.task())
    (project.model / "generation_config.json").write_text("{}")
    (after,), _ = project.build(project.task())
    assert after.image.digest == before.image.digest
    (project.folder / "model-compose.lock").unlink()
    (other,), _ = project.build(project.task())
    assert other.image.digest != before.image.digest


def test_a_model_whose_files_nobody_could_list_is_told(project: Project) -> None:
    task = project.task()
    assert task.model is not None
    _, said = project.build(replace(task, model=replace(task.model, unlisted=True)))
    assert said.notes == [
        "task-writer: the hub could not be asked for all files of tiny/one: the image gets those that are here"
    ]


def test_a_prune_waits_for_a_build_and_leaves_all_that_it_made(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()
    pruning = threading.Thread(target=lambda: prune(project.store, waiting=waiting.set))

    def begin(*_: object) -> None:
        if pruning.ident is None:
            pruning.start()
        assert waiting.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(Said, "layer", begin)
        built, _ = project.build(project.task(), project.router())
    pruning.join(10)
    again, said = project.build(project.task(), project.router())
    assert [each.image for each in again] == [each.image for each in built]
    assert {line.rpartition(": ")[2] for line in said.layers if "is built" not in line} == {
        "reused, nothing in it has changed"
    }
