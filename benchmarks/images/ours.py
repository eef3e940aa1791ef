"""Our side: a project, and the commands that a user gives there."""

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images.place import REPOSITORY, Place, Ran, link_model, run
from builders.images.layout import Image, Layer
from builders.images.store import BlobStore
from builders.spec import stored_name

SMALL = REPOSITORY / "examples" / "quickstart" / "model-compose.yml"
SERVICES = ("chat-completion", "router", "page")
"""Of that file."""
LARGE = """
controller: {}
components:
  - {id: chat, type: model, task: chat-completion, model: ./model, default: true}
  - {id: story, type: model, task: text-generation, model: ./model}
"""
OFFLINE = ("unshare", "--map-root-user", "--net")
"""Begins a command that has no network at all."""
SOMEBODY = ("unshare", "--map-user=1234", "--map-group=1234")
"""Begins a command that takes itself and its files for another user's."""

_ROW = re.compile(r"^\S+/(?:task-)?(\S+):latest .*?(\d+) +(\d+) +(sha256:[0-9a-f]{64})$", re.MULTILINE)
_OF_A_MODEL = ("weights", "the small files of the model")


@dataclass(frozen=True)
class Build:
    """What a build's table says, by service. new: how many layers were written."""

    seconds: float
    new: dict[str, int]
    digests: dict[str, str]


@dataclass(frozen=True)
class Project:
    """A folder with a file in it. cache: where its images are kept. checkout: whose code builds them."""

    place: Place
    folder: Path
    cache: Path
    checkout: Path = REPOSITORY

    @classmethod
    def make(cls, place: Place, folder: Path, text: str, model: Path, cache: Path | None = None) -> "Project":
        """In a new folder; with an empty cache beside it, unless another one is named."""
        folder.mkdir(parents=True)
        (folder / "model-compose.yml").write_text(text, encoding="utf-8")
        link_model(model, folder / "model")
        if place.lock is not None:
            shutil.copyfile(place.lock, folder / "model-compose.lock")
        return cls(place, folder, cache or place.cache or folder.parent / f"cache-{folder.name}")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MODEL_COMPOSE_CACHE": str(self.cache),
            "NO_COLOR": "1",
            "PYTHONPATH": str(self.checkout),
            "UV_CACHE_DIR": str(self.place.uv),
        }

    def command(
        self,
        *arguments: str | Path,
        before: tuple[str, ...] = (),
        umask: int = -1,
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        """`model-compose`; before: what its command line begins with."""
        return run(
            *(*before, sys.executable, "-P", "-m", "compose", *arguments),
            cwd=self.folder,
            environment={**self.environment, **(environment or {})},
            umask=umask,
        )

    def build(
        self, *arguments: str | Path, base: Path | None = None, before: tuple[str, ...] = (), umask: int = -1
    ) -> Build:
        """base: another than the place's."""
        wheels = ("--wheels", self.place.wheels) if self.place.wheels else ()
        options = ("--no-verify", "--base", f"tar:{base or self.place.base}", *wheels)
        ran = self.command("build", *options, *arguments, before=before, umask=umask)
        rows = _ROW.findall(ran.out)
        return Build(ran.seconds, {row[0]: int(row[1]) for row in rows}, {row[0]: row[3] for row in rows})

    def image(self, service: str) -> Image:
        """One that was built."""
        name = stored_name(self.folder, f"{self.reference(service)}:latest")
        found = BlobStore.of({"MODEL_COMPOSE_CACHE": str(self.cache)}).image(name)
        assert found is not None, name
        return found

    def reference(self, service: str) -> str:
        """Without a tag."""
        return f"{self.folder.name}/{service if service in ('router', 'page') else f'task-{service}'}"


def of_a_model(layer: Layer) -> bool:
    return layer.purpose.startswith(_OF_A_MODEL)


def weights(image: Image) -> list[str]:
    """The digests of the layers of its model."""
    return [layer.digest for layer in image.layers if of_a_model(layer)]


def beside_weights(image: Image) -> int:
    """Its bytes without its model, unpacked."""
    return sum(layer.size for layer in image.layers if not of_a_model(layer))


def copied_checkout(folder: Path) -> Path:
    """What of this repository builds images, to be changed."""
    for package in ("compose", "builders", "services", "ui", "infra"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
