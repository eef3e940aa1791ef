"""What `push` brings where, and what it says about it."""

import gzip
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from builders.garbage import prune
from builders.images.compressing import Compression
from builders.images.layout import Image, MediaType, digest_of
from builders.images.registry import Pusher
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.splitting import Split, split
from compose.commands.push import destination, push
from compose.output import Console
from compose.state import Selection
from infra.errors import ExitCode, UserError
from infra.files import write_private
from infra.sizes import size
from tests.compose.loading import load
from tests.images import COMMIT, Pruning, keep_image
from tests.registry import FakeRegistry

pytestmark = pytest.mark.server

FILE = """
controller: {}
components:
  - {id: chat, type: model, task: chat-completion, model: acme/tiny, default: true}
  - {id: story, type: model, task: text-generation, model: acme/tiny}
"""
SERVICES = {"task-chat": "chat", "task-story": "story", "router": "router"}
NAMES = tuple(SERVICES)


class Project:
    """A file whose images are built; the two tasks share their weights."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop" / "model-compose.yml"
        self.file.parent.mkdir()
        self.loaded = load(self.file.parent, FILE)
        self.weights = folder / "weights"
        self.weights.write_bytes(bytes(2_000_000))
        self.store = BlobStore.of(os.environ)
        self.images = {name: self._image(name) for name in NAMES}

    def _image(self, name: str) -> Image:
        own, _ = self.store.layer(name, lambda: {"/task.json": File(name.encode())}, purpose="task")
        shared = {"/models/a": File(self.weights, lasting=True)}
        weights, _ = self.store.layer("weights", lambda: shared, purpose="weights: a")
        layers = (own,) if name == "router" else (weights, own)
        image = keep_image(self.store, self.loaded, SERVICES[name], layers)
        write_private(self.store.root / "proven" / image.digest.removeprefix("sha256:"), "")
        return image

    def push(self, registry: str, *components: str, **options: Any) -> tuple[str, str]:
        """What it prints as the result, and meanwhile."""
        out, err = io.StringIO(), io.StringIO()
        push(Selection((self.file,)), registry, Console(out=out, err=err), components=components, **options)
        return out.getvalue(), err.getvalue()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
    return Project(tmp_path)


def test_the_table_says_what_became_of_every_image(project: Project) -> None:
    with FakeRegistry() as registry:
        name = registry.name
        chat, story, router = (project.images[name].digest for name in NAMES)
        first, told = project.push(f"{name}/team/")
        again, _ = project.push(f"{name}/team")
        width = len(f"{name}/team/shop/task-story")
        own = [size(project.images[name].layers[-1].size + len(project.images[name].config)) for name in NAMES[1:]]
        assert told == "".join(f"pushing {name}/team/shop/{image}\n" for image in NAMES)
        assert first == (
            f"{'IMAGE':{width}}  TAG     SENT    MOUNTED  ALREADY THERE  DIGEST\n"
            f"{name}/team/shop/task-chat   latest  2.0 MB  -        -              {chat}\n"
            f"{name}/team/shop/task-story  latest  {own[0]}  2.0 MB   -              {story}\n"
            f"{name}/team/shop/router      latest  {own[1]}  -        -              {router}\n"
        )
        assert [line.split()[2:4] for line in again.splitlines()[1:]] == [["-", "-"]] * 3
        assert {path: set(tags) - {chat, story, router} for path, tags in registry.manifests.items()} == {
            f"team/shop/{image}": {"latest"} for image in NAMES
        }


def test_compressed_layers_change_the_digest_and_not_the_image(project: Project) -> None:
    with FakeRegistry() as registry:
        shown, told = project.push(registry.name, "chat", compression=Compression.GZIP)
        _, manifest = registry.manifests["shop/task-chat"]["latest"]
        assert shown.endswith(f"  {digest_of(manifest)}\n")
        assert told.splitlines() == [f"{verb} {registry.name}/shop/task-chat" for verb in ("compressing", "pushing")]
        built, pushed = json.loads(project.images["task-chat"].manifest), json.loads(manifest)
        assert pushed["config"] == built["config"]
        assert [layer["mediaType"] for layer in pushed["layers"]] == [MediaType.LAYER, MediaType.LAYER_GZIP]
        assert pushed["layers"][0] == built["layers"][0]
        task = gzip.decompress(registry.blobs["shop/task-chat"][pushed["layers"][1]["digest"]])
        assert digest_of(task) == built["layers"][1]["digest"]


def test_what_the_registry_has_is_remembered_for_files_that_name_it(project: Project) -> None:
    with FakeRegistry() as registry:
        name, built = f"{registry.name}/shop/router:latest", project.images["router"].digest
        assert project.store.pushed(name, built) is None
        seen = []
        for compression in (Compression.NONE, Compression.GZIP):
            project.push(registry.name, "router", compression=compression)
            there = digest_of(registry.manifests["shop/router"]["latest"][1])
            assert project.store.pushed(name, built) == there
            seen.append(there)
        assert seen[0] == built != seen[1]
        assert project.store.pushed(name, f"sha256:{'0' * 64}") is None
        assert project.store.pushed(f"{registry.name}/shop/task-chat:latest", built) is None


def parts(project: Project, name: str) -> Split:
    found = split(project.images[name])
    assert found is not None
    return found


def test_the_parts_of_an_image_bring_next_to_nothing(project: Project) -> None:
    chat, story = parts(project, "task-chat"), parts(project, "task-story")
    with FakeRegistry() as registry:
        project.push(registry.name)
        before = registry.sent_bytes
        shown, _ = project.push(registry.name, image_volumes=True)
        assert registry.sent_bytes - before < 20_000
        (tag,) = {key for key in registry.manifests["shop/weights"] if ":" not in key}
        assert tag.endswith("-amd64")
        expected = [
            ("shop/weights", tag, chat.weights),
            ("shop/task-chat", "latest-without-weights", chat.task),
            ("shop/task-story", "latest-without-weights", story.task),
        ]
        for (name, tag, part), row in zip(expected, map(str.split, shown.splitlines()[4:]), strict=True):
            assert [row[0], row[1], row[-1]] == [f"{registry.name}/{name}", tag, part.digest]
            assert registry.manifests[name][tag][1] == part.manifest
            assert {layer.digest for layer in part.layers} <= set(registry.blobs[name])


def test_the_part_of_a_compressed_image_is_remembered_by_its_digest_there(project: Project) -> None:
    with FakeRegistry() as registry:
        project.push(registry.name, "chat", compression=Compression.GZIP, image_volumes=True)
        there = digest_of(registry.manifests["shop/task-chat"]["latest-without-weights"][1])
        built = project.images["task-chat"]
        name = f"{registry.name}/shop/task-chat:latest-without-weights"
        assert project.store.pushed(name, built.digest) == there != parts(project, "task-chat").task.digest
        assert parts(project, "task-chat").weights.digest in registry.manifests["shop/weights"]
        prune(project.store)
        assert project.store.pushed(name, built.digest) == there


def test_what_has_no_weights_has_no_parts(project: Project) -> None:
    with FakeRegistry() as registry:
        project.push(registry.name, "router", image_volumes=True)
        assert {name: {tag for tag in tags if ":" not in tag} for name, tags in registry.manifests.items()} == {
            "shop/router": {"latest"}
        }


def test_a_prune_waits_for_a_push(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pruning = Pruning(project.store)
    monkeypatch.setattr(Pusher, "push", pruning.beside(Pusher.push))
    with FakeRegistry() as registry:
        project.push(registry.name, "router")
    pruning.join()
    assert not project.store.pushed(f"{registry.name}/shop/router:latest", project.images["router"].digest)


def test_only_what_is_asked_for_is_pushed(project: Project) -> None:
    with FakeRegistry() as registry:
        project.push(registry.name, "story")
        assert set(registry.manifests) == {"shop/task-story"}


def test_what_is_not_built_is_told_before_anything_is_pushed(project: Project) -> None:
    with FakeRegistry() as registry:
        with pytest.raises(UserError) as caught:
            project.push(registry.name, "chat", tag="2")
        assert caught.value.message == "there is no image shop/task-chat:2"
        assert caught.value.hint == "make it with `model-compose build --tag 2 chat`"
        assert caught.value.exit_code == ExitCode.FILE
        assert registry.requests == []


@pytest.mark.parametrize(
    ("before", "after", "service"),
    [
        ("controller: {}", "controller: {adapter: {base_path: /v2}}", "router"),
        ("acme/tiny, default", "acme/other, default", "chat"),
        ("acme/tiny, default", "acme/tiny, device: cuda, default", "chat"),
        ("acme/tiny, default", "acme/tiny, max_queue_length: 3, default", "chat"),
        (
            "model: acme/tiny, default",
            f"model: {{repository: acme/tiny, revision: {'2' * 40}}}, default",
            "chat",
        ),
    ],
    ids=["router", "model", "device", "setting", "commit"],
)
def test_an_image_of_the_file_as_it_was_is_not_pushed(project: Project, before: str, after: str, service: str) -> None:
    assert before in FILE
    project.file.write_text(FILE.replace(before, after))
    name = {name: key for key, name in SERVICES.items()}[service]
    with FakeRegistry() as registry:
        with pytest.raises(UserError) as caught:
            project.push(registry.name)
        assert caught.value.message == f"the file has changed since shop/{name}:latest was built"
        assert caught.value.hint == f"make it again with `model-compose build {service}`"
        assert caught.value.exit_code == ExitCode.FILE
        assert registry.requests == []


def test_a_file_that_names_the_commit_that_was_built_is_pushed(project: Project) -> None:
    named = f"model: {{repository: acme/tiny, revision: {COMMIT}}}, default"
    project.file.write_text(FILE.replace("model: acme/tiny, default", named))
    with FakeRegistry() as registry:
        project.push(registry.name, "chat")


def test_another_folder_of_the_same_name_pushes_its_own_images(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "shop"
    elsewhere.mkdir(parents=True)
    project.file = elsewhere / "model-compose.yml"
    project.file.write_text(FILE)
    with FakeRegistry() as registry, pytest.raises(UserError, match=r"there is no image shop/task-chat:latest"):
        project.push(registry.name)


def test_an_image_that_was_never_tried_is_pushed_with_a_warning(project: Project) -> None:
    shutil.rmtree(project.store.root / "proven")
    with FakeRegistry() as registry:
        _, told = project.push(registry.name, "router")
    assert told.splitlines()[0] == "warning: shop/router:latest was never tried"


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        ("localhost:5000", "localhost:5000/shop/task-chat"),
        ("registry.example.com/me/", "registry.example.com/me/shop/task-chat"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b/shop/task-chat"),
        ("docker.io/me", "docker.io/me/shop-task-chat"),
        ("docker.io/me/tools", "docker.io/me/tools-shop-task-chat"),
    ],
)
def test_the_registry_stands_before_the_name(registry: str, name: str) -> None:
    assert destination(registry, "shop/task-chat").name == name


@pytest.mark.parametrize(
    "registry",
    [
        "",
        "/",
        "me",
        "docker.io",
        "https://registry.example.com/me",
        "registry.example.com/Me",
        "registry.example.com/a:1",
        "registry.example.com/../x",
        "a b.io",
        "registry.example.com//x",
    ],
)
def test_what_is_no_registry_is_refused(registry: str) -> None:
    with pytest.raises(UserError) as caught:
        destination(registry, "shop/task-chat")
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message == f"`{registry}` is no registry that images are pushed to"
