"""`prune` tells what it freed here and in the engine, and goes without an engine."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.container import OWN_LABELS
from builders.images.layout import Image, ImageConfig
from builders.images.store import BlobStore
from builders.images.tar import File
from builders.spec import stored_name
from compose.cli import cli
from infra.docker.errors import EngineError
from infra.docker.images import Unused

pytestmark = pytest.mark.unit


@dataclass
class FakeImages:
    """used: what a container was made from after we asked. away_after: so many images it cannot be reached."""

    without_name: list[Unused] = field(default_factory=list)
    used: tuple[str, ...] = ()
    away_after: int = 9
    removed: list[str] = field(default_factory=list)

    def unused(self, labels: Collection[str]) -> list[Unused]:
        assert labels == OWN_LABELS
        return self.without_name

    def remove(self, image_id: str) -> bool:
        if len(self.removed) == self.away_after:
            raise EngineError("the Docker engine is not running", "start it")
        if image_id not in self.used:
            self.removed.append(image_id)
        return image_id not in self.used


@dataclass
class FakeEngine:
    images: FakeImages = field(default_factory=FakeImages)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeImages:
    fake = FakeEngine()
    monkeypatch.setattr("infra.docker.engine.connect", lambda: fake)
    return fake.images


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Image]:
    """Leaves an image in the user's store as a build does in a folder of that name."""
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    store = BlobStore(tmp_path / "cache" / "images")

    def keep(project: str) -> Image:
        (tmp_path / project).mkdir()
        layer, _ = store.layer(project, lambda: {"/a": File(project.encode() * 1000)}, purpose="code")
        image = Image.of(ImageConfig(), [layer])
        store.save_image(stored_name(tmp_path / project, "shop/router:latest"), image)
        return image

    return keep


def call(*arguments: str) -> tuple[int, list[str], list[str]]:
    result = CliRunner().invoke(cli, ["prune", *arguments])
    table = [" ".join(line.split()) for line in result.stdout.splitlines()]
    return result.exit_code, table, result.stderr.splitlines()


def test_it_tells_what_it_removed_here_and_in_the_engine(
    build: Callable[[str], Image], engine: FakeImages, tmp_path: Path
) -> None:
    kept = build("kept")
    build("gone")
    shutil.rmtree(tmp_path / "gone")
    engine.without_name = [
        Unused("sha256:1", 2_000_000),
        Unused(kept.config_descriptor.digest, 5),
        Unused("sha256:2", 7),
    ]
    engine.used = ("sha256:2",)
    code, dry, _ = call("--dry-run")
    assert (code, dry[-1], engine.removed) == (0, "2.0 MB would be freed", [])
    code, table, said = call()
    assert (code, said) == (0, [f"{tmp_path / 'gone'} is gone, and had 1 image"])
    assert [line.split()[:-2] for line in table[:-2]] == [
        ["WHAT"],
        ["images", "1"],
        ["layers", "3"],
        ["records", "2"],
        ["in", "Docker", "1"],
    ]
    assert table[-3:] == ["in Docker 1 2.0 MB", "", "freed 2.0 MB"]
    assert engine.removed == ["sha256:1"]
    engine.without_name = []
    assert call() == (0, ["there is nothing to remove"], [])
    assert call("--all")[1][-1].startswith("freed ")


def test_without_an_engine_the_store_is_tidied_all_the_same(
    build: Callable[[str], Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise EngineError("there is no Docker engine", "install one")

    monkeypatch.setattr("infra.docker.engine.connect", refuse)
    build("gone")
    shutil.rmtree(tmp_path / "gone")
    code, table, said = call()
    assert (code, table[1]) == (0, "images 1 " + table[1].split(" ", 2)[2])
    assert said[-1] == "nothing is removed from Docker: there is no Docker engine"


def test_what_was_removed_before_the_engine_went_away_is_told(
    build: Callable[[str], Image], engine: FakeImages
) -> None:
    engine.without_name = [Unused(f"sha256:{number}", 1_000_000) for number in range(3)]
    engine.away_after = 2
    code, table, said = call()
    assert (code, table[1:], said) == (
        0,
        ["in Docker 2 2.0 MB", "", "freed 2.0 MB"],
        ["no more is removed from Docker: the Docker engine is not running"],
    )
