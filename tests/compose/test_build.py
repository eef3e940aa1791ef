"""What `build` and `push` take and print, around a builder that makes nothing."""

import json
import os
import pkgutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.code import tool_version
from builders.images.layout import Image, ImageConfig, Platform
from builders.images.outputs import Loaded
from builders.images.store import BlobStore
from builders.images.tar import File, Tree
from builders.lock import Lock, LockedModel
from builders.spec import BuildOptions, BuildSpec, Built, BuiltLayer, Listener, stored_name
from builders.verifying import UnsoundImage, Verdict
from builders.weights import Resolved
from compose.cli import cli
from infra.docker.errors import EngineError
from tests.images import Pruning

pytestmark = pytest.mark.unit

FILE = """
controller: {webui: }
component: {id: chat, type: model, task: chat-completion, model: acme/tiny}
"""


def _tree(name: str) -> Tree:
    return {"a": File(name.encode())}


@dataclass
class Builder:
    """Stands in for `builders.build.build`: each image is one layer of a few bytes."""

    options: BuildOptions | None = None

    def __call__(self, specs: Sequence[BuildSpec], options: BuildOptions, listener: Listener) -> list[Built]:
        self.options = options
        store = BlobStore.of(options.environ)
        images = []
        for spec in specs:
            layer, reused = store.layer(spec.name, partial(_tree, spec.name), purpose="its settings")
            image = Image.of(ImageConfig(platform=Platform()), [layer])
            store.save_image(stored_name(options.project, f"{spec.repository}:{options.tag}"), image)
            built = BuiltLayer(layer, reused, "as the test has it")
            listener.layer(spec.name, built)
            images.append(Built(spec, f"{spec.repository}:{options.tag}", image, (built,)))
        return images


@dataclass
class Project:
    folder: Path
    builder: Builder

    def call(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, arguments)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "model-compose.yml").write_text(FILE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    builder = Builder()
    monkeypatch.setattr("compose.commands.build.build_images", builder)
    monkeypatch.setattr("compose.commands.build.find", lambda *_: Resolved(tmp_path, None, {}))
    return Project(folder, builder)


@dataclass
class FakeImages:
    untagged: list[str] = field(default_factory=list)

    def untag(self, name: str) -> None:
        self.untagged.append(name)


@dataclass
class FakeEngine:
    images: FakeImages = field(default_factory=FakeImages)

    def platform(self) -> str:
        return "linux/amd64"

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeEngine]:
    """Makes `verify` answer or raise these, one after the other; nothing is loaded anywhere."""

    engine = FakeEngine()

    def answer(*answers: object) -> FakeEngine:
        def verify(*_: object) -> object:
            said = next(verdicts)
            if isinstance(said, Exception):
                raise said
            return said

        verdicts = iter(answers)
        monkeypatch.setattr("infra.docker.engine.connect", lambda: engine)
        monkeypatch.setattr("compose.commands.trials.load", lambda *_: Loaded("sha256:1", 0, 0))
        monkeypatch.setattr("compose.commands.trials.verify", verify)
        return engine

    return answer


def absent(*_: object) -> None:
    raise EngineError("there is no Docker engine", "install it")


def test_a_line_for_each_layer_and_a_table(project: Project) -> None:
    code, out, err = project.call("build", "--no-verify")
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["IMAGE", "SIZE", "NEW", "REUSED"],
        ["shop/task-chat:latest", "2.6", "KB", "1"],
        ["shop/router:latest", "2.6", "KB", "1"],
        ["shop/page:latest", "2.6", "KB", "1"],
    ]
    assert err.splitlines()[0] == "task-chat  new         2.0 KB  its settings  (as the test has it)"


@pytest.mark.parametrize(
    ("last", "arguments"),
    [
        ("compose.commands.trials.Proofs.keep", ()),
        ("compose.commands.build.write_layout", ("--no-verify", "--output", "oci:out")),
    ],
)
def test_a_prune_waits_until_images_are_where_they_belong(
    project: Project,
    engine: Callable[..., FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    last: str,
    arguments: tuple[str, ...],
) -> None:
    engine(*[Verdict(ready_s=1)] * 3)
    pruning = Pruning(BlobStore.of(os.environ))
    monkeypatch.setattr(last, pruning.beside(pkgutil.resolve_name(last)))
    code, _, err = project.call("build", *arguments)
    assert code == 0, err
    pruning.join()


def test_one_component_with_every_option(project: Project) -> None:
    wheels = project.folder / "wheels"
    wheels.mkdir()
    lock = Lock(tool_version(), {"debian:12 for linux/arm64": "sha256:1"}, {"acme/tiny": LockedModel("1" * 40, {})})
    (project.folder / "model-compose.lock").write_text(lock.text)
    options = ["--tag", "v1", "--locked", "--base", "debian:12", "--wheels", "wheels", "--platform", "linux/arm64"]
    code, out, _ = project.call("build", "chat", "--no-verify", "--index-url", "https://index", *options)
    made = project.builder.options
    assert code == 0
    assert out.splitlines()[1].startswith("shop/task-chat:v1 ")
    assert made is not None
    assert (made.tag, made.locked, made.base, str(made.platform)) == ("v1", True, "debian:12", "linux/arm64")
    assert (made.sources.index_url, made.sources.wheels) == ("https://index", Path("wheels"))
    assert made.lock == project.folder / "model-compose.lock"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["chatt"], 2, "error: there is no service `chatt`\nhint: did you mean `chat`? there are chat, router, page"),
        (
            ["--output", "tar:x"],
            2,
            "error: 'tar:x' is no place for images\nhint: write oci:DIR, archive:FILE or docker",
        ),
        (["--platform", "windows"], 2, "error: 'windows' is not a platform that images are built for"),
        (["--tag", "a b"], 2, "error: 'a b' is no tag of an image"),
        (["--wheels", "nowhere"], 2, "error: there is no folder nowhere"),
    ],
)
def test_a_wrong_value_is_one_sentence(project: Project, arguments: list[str], code: int, message: str) -> None:
    ended, out, err = project.call("build", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(message)
    assert project.builder.options is None


def test_what_was_built_on_is_built_on_again(project: Project) -> None:
    lock = 'format = 1\ntool = "0.1.0"\n[bases]\n"../base.tar for linux/amd64" = "sha256:1"\n'
    (project.folder / "model-compose.lock").write_text(lock)
    project.call("build", "--no-verify", "--platform", "linux/amd64")
    assert project.builder.options is not None
    assert project.builder.options.base == "../base.tar"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("tar:base.tar", "tar:../base.tar"),
        ("./base.tar", "tar:../base.tar"),
        ("./layout", "oci:../layout"),
        ("archive:shop/saved", "archive:saved"),
        ("oci:/srv/layout", "oci:/srv/layout"),
        ("tar:~/base.tar", "tar:~/base.tar"),
        ("docker-daemon:debian", "docker-daemon:debian"),
        ("debian:12", "debian:12"),
    ],
)
def test_the_path_of_a_base_is_kept_as_the_project_sees_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, said: str, meant: str
) -> None:
    (project.folder.parent / "layout").mkdir()
    monkeypatch.chdir(project.folder.parent)
    project.call("-f", "shop/model-compose.yml", "build", "--no-verify", "--base", said)
    assert project.builder.options is not None
    assert project.builder.options.base == meant


@pytest.mark.parametrize(
    ("made", "said", "hint"),
    [
        ("base.tar", "base.tar", "write --base tar:base.tar (a root file system) or archive:base.tar"),
        ("saved/oci-layout", "saved", "write --base oci:saved"),
    ],
)
def test_a_base_that_lies_here_and_is_called_like_one_of_a_registry_is_told(
    project: Project, made: str, said: str, hint: str
) -> None:
    (project.folder / made).parent.mkdir(exist_ok=True)
    (project.folder / made).touch()
    assert project.call("build", "--no-verify", "--base", said) == (
        2,
        "",
        f"error: {said} is here, but `--base {said}` means an image of a registry\nhint: {hint}\n",
    )
    assert project.builder.options is None


def test_a_folder_that_is_called_like_an_image_is_no_base(project: Project) -> None:
    (project.folder / "python").mkdir()
    assert project.call("build", "--no-verify", "--base", "python")[0] == 0


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (None, "--locked needs model-compose.lock, and there is none in "),
        (
            Lock("0"),
            f"model-compose.lock does not fit: model-compose is {tool_version()}, not 0; it does not have the ",
        ),
        (Lock(tool_version()), "model-compose.lock does not fit: it does not have the base python:3.11-slim for "),
    ],
)
def test_a_locked_build_looks_at_the_lock_before_it_looks_for_a_model(
    project: Project, monkeypatch: pytest.MonkeyPatch, lock: Lock | None, message: str
) -> None:
    monkeypatch.setattr("compose.commands.build.find", lambda *_: pytest.fail("asked the hub"))
    if lock is not None:
        (project.folder / "model-compose.lock").write_text(lock.text)
    code, _, err = project.call("build", "--no-verify", "--locked")
    assert code == 4
    assert err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("named", "in_lock", "commit"),
    [("acme/tiny", "acme/tiny", "1" * 40), ("acme/tiny@v2", "acme/tiny", None), ("acme/tiny", "acme/other", None)],
    ids=["pinned", "another revision", "another model"],
)
def test_a_model_is_taken_at_the_commit_of_the_lock(
    project: Project, monkeypatch: pytest.MonkeyPatch, named: str, in_lock: str, commit: str | None
) -> None:
    repository, _, revision = named.partition("@")
    model = f"{{repository: {repository}, revision: {revision}}}" if revision else repository
    (project.folder / "model-compose.yml").write_text(FILE.replace("acme/tiny", model))
    lock = f"format = 1\ntool = '0.1.0'\n[models.'{in_lock}']\nrevision = '{'1' * 40}'\nfiles = {{}}\n"
    (project.folder / "model-compose.lock").write_text(lock)
    asked: list[object] = []

    def find(_: object, __: object, commit: str | None, ___: object) -> Resolved:
        asked.append(commit)
        return Resolved(project.folder, commit, {})

    monkeypatch.setattr("compose.commands.build.find", find)
    assert project.call("build", "chat", "--no-verify")[0] == 0
    assert asked == [commit]


def test_new_images_are_tried_and_proven_ones_are_not(project: Project, engine: Callable[..., FakeEngine]) -> None:
    engine(*[Verdict(ready_s=1.23)] * 3)
    assert "task-chat  works: ready after 1.2 s, and it answers\n" in project.call("build")[2]
    engine(AssertionError("nobody asks"))
    assert project.call("build")[0] == 0


def test_an_image_that_does_not_work_is_an_error_with_what_it_printed(
    project: Project, engine: Callable[..., FakeEngine]
) -> None:
    engine(UnsoundImage("the image of router does not work: it ended with exit status 1", ["one", "two"]))
    code, out, err = project.call("build", "router")
    assert (code, out) == (1, "")
    assert err.splitlines()[-4:] == [
        "router  | one",
        "router  | two",
        "error: the image of router does not work: it ended with exit status 1",
        "hint: these are its last lines; --no-verify builds without this trial",
    ]


def test_after_a_failed_trial_only_proven_images_keep_their_names(
    project: Project, engine: Callable[..., FakeEngine]
) -> None:
    fake = engine(Verdict(ready_s=1), UnsoundImage("the image of router does not work", []))
    assert project.call("build")[0] == 1
    store = BlobStore.of(os.environ)
    names = [f"shop/{name}:latest" for name in ("task-chat", "router", "page")]
    kept = [name for name in names if store.image(stored_name(project.folder, name))]
    assert (kept, fake.images.untagged) == (names[:1], names[1:])


def test_without_an_engine_it_says_that_nothing_is_tried(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.docker.engine.connect", absent)
    code, _, err = project.call("build")
    assert code == 0
    assert "warning: the images are not tried: there is no Docker engine; install it\n" in err
    assert project.call("build", "--output", "docker")[0] == 4


@pytest.mark.parametrize("options", [(), ("--output", "docker")], ids=["built", "given"])
def test_images_for_another_kind_of_machine_are_not_tried(
    project: Project, engine: Callable[..., FakeEngine], options: tuple[str, ...]
) -> None:
    engine(AssertionError("nobody asks"))
    code, _, err = project.call("build", "--platform", "linux/arm64", *options)
    assert code == 0
    assert (
        "warning: the images are not tried: they are for linux/arm64, and the engine's machine is linux/amd64\n" in err
    )


def test_images_are_written_where_they_are_wanted(project: Project) -> None:
    project.call("build", "--no-verify", "--output", "oci:layout")
    index = json.loads((project.folder / "layout" / "index.json").read_text())
    assert len(index["manifests"]) == 3
    project.call("build", "router", "--no-verify", "--output", "archive:router.tar")
    with tarfile.open(project.folder / "router.tar") as archive:
        assert "manifest.json" in archive.getnames()
