"""`plan` says what becomes of images and containers, and neither builds one nor touches the other."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.images.layout import Image
from builders.images.store import BlobStore
from builders.images.tar import File
from compose.cli import cli
from compose.commands.container_run import reconciled
from compose.loader import load_spec
from infra.docker.container import project_id
from infra.docker.errors import EngineError, no_image
from infra.errors import ExitCode
from tests.images import keep_image
from tests.infra.docker.fakes import FakeEngine
from tests.models import make_model

pytestmark = pytest.mark.unit

FILE = """
controller: {{runtime: docker, adapter: {{port: 18080}}}}
component: {{type: model, task: text-generation, model: ./model, action: {{prompt: "{prompt}"}}}}
"""
TASK, ROUTER = "shop/task-text-generation:latest", "shop/router:latest"


class NoImages:
    """Of an engine that has none."""

    def id(self, reference: str) -> str:
        raise no_image(reference)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def shop(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "model").symlink_to(model)
    (folder / "model-compose.yml").write_text(FILE.format(prompt="one"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(fake, "images", NoImages())
    monkeypatch.setattr("infra.docker.engine.connect", lambda: fake)
    return fake


@pytest.fixture
def built(shop: Path, tmp_path: Path) -> Callable[[], dict[str, Image]]:
    """Leaves images in the store as a build of the file does; by service."""
    store = BlobStore(tmp_path / "cache" / "images")

    def build() -> dict[str, Image]:
        loaded = load_spec(directory=shop)
        layer, _ = store.layer("code", lambda: {"/a": File(b"")}, purpose="code")
        return {service: keep_image(store, loaded, service, [layer]) for service in ("text-generation", "router")}

    return build


def steps(*options: str) -> list[tuple[str, str, str, str]]:
    result = CliRunner().invoke(cli, ["plan", "--json", *options])
    assert result.exit_code == 0, result.stderr
    return [(step["verb"], step["service"], step["what"], step["cause"]) for step in json.loads(result.stdout)["steps"]]


def run(shop: Path, engine: FakeEngine, images: dict[str, Image]) -> None:
    """Have the engine run what `up` makes of these images."""
    ids = {service: image.config_descriptor.digest for service, image in images.items()}
    project = project_id(shop)
    for container in reconciled(load_spec(directory=shop), ids, engine).containers:
        engine.boxes[engine.add(container.config(project), container.service)].running = True


def test_images_that_lack_are_built_and_containers_started(shop: Path, engine: FakeEngine) -> None:
    assert steps() == [
        ("build", "text-generation", TASK, "not built before"),
        ("build", "router", ROUTER, "not built before"),
        ("start", "text-generation", TASK, "does not run yet"),
        ("start", "router", ROUTER, "does not run yet"),
    ]
    assert steps("--runtime", "process")[0][:3] == ("start", "text-generation", "./model")


def test_only_what_an_edit_changes_is_built_and_replaced(
    shop: Path, engine: FakeEngine, built: Callable[[], dict[str, Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shop, engine, built())
    kept = ("keep", "text-generation", TASK, "runs as the file says")
    assert steps() == [kept, ("keep", "router", ROUTER, "runs as the file says")]
    (shop / "model-compose.yml").write_text(FILE.format(prompt="another"))
    changed = "its image or its settings changed"
    assert steps() == [
        ("build", "router", ROUTER, "the file has changed since it was built"),
        kept,
        ("replace", "router", ROUTER, changed),
    ]
    monkeypatch.setattr("compose.commands.preview.tool_version", lambda: "9.9")
    assert [step[:2] for step in steps()] == [
        ("build", "text-generation"),
        ("build", "router"),
        ("replace", "text-generation"),
        ("replace", "router"),
    ]
    assert [method for method, _ in engine.calls if method != "close"] == []


def test_without_an_engine_builds_and_needs_are_told_all_the_same(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise EngineError("the Docker engine is not running", "start it")

    monkeypatch.setattr("infra.docker.engine.connect", refuse)
    result = CliRunner().invoke(cli, ["plan"])
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert result.stdout.splitlines()[:2] == [
        f"build  text-generation  {TASK}  (not built before)",
        f"build  router           {ROUTER}                (not built before)",
    ]
    assert "fits: needs" in result.stdout
    assert result.stderr == "error: the Docker engine is not running\nhint: start it\n"
