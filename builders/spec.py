"""What a build is told: an image's part, its settings and its model, and how and from what all images are made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine
from typing import Final, Protocol

from builders.code import ImageKind
from builders.images.layout import Image, Layer, Platform
from builders.images.reference import Reference
from builders.packages.sources import Sources
from builders.weights import Resolved
from infra.errors import ExitCode, UserError

DEFAULT_BASE: Final = "python:3.11-slim"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,48}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """One image. Raises UserError (exit 3) for a name that is none.

    name: of the service, as `services.service.service_name` makes it, or `router` or `page`.
    repository: what the image is called, without a tag; such as `quickstart/task-chat`.
    settings: JSON text that the service reads at start. It ends in the image, so no secret may stand in it. A task's
        `model_path` and `start_record` are those of this machine; the image gets its own.
    model: of a task, where its weights are, or what brings them.
    revision: the commit, branch or tag of it that the file names; None where it names none.
    gpu: whether the image takes CUDA's build of torch.
    """

    name: str
    repository: str
    kind: ImageKind
    settings: str
    model: Resolved | None = field(default=None, repr=False)
    revision: str | None = None
    gpu: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"{self.name!r} is no name of a service",
                hint="use a-z, 0-9 and `-`, at most 50 characters",
                exit_code=ExitCode.FILE,
            )
        Reference.parse(self.repository, exit_code=ExitCode.FILE)
        if (self.model is None) == (self.kind == "task"):
            raise ValueError("a task has a model, and nothing else has one")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """For all images of a build. Raises UserError (exit 2) for a tag that is none.

    base: a reference, see `builders.images.base`; a path in it starts at the project's folder. lock: the file
    model-compose.lock. locked: whether it must hold already whatever it would hold afterwards.
    """

    lock: Path
    environ: Mapping[str, str] = field(repr=False)
    tag: str = "latest"
    base: str = DEFAULT_BASE
    platform: Platform = field(default_factory=lambda: Platform.of_machine(machine()))
    sources: Sources = field(default_factory=Sources)
    locked: bool = False

    @property
    def project(self) -> Path:
        """The folder of the file that is built."""
        return self.lock.parent

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,127}", self.tag, re.ASCII):
            raise UserError(
                f"{self.tag!r} is no tag of an image",
                hint="use letters, digits, `_`, `.` and `-`, at most 128 characters",
                exit_code=ExitCode.USAGE,
            )


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer of an image, whether the store had it, and why it has or had not."""

    layer: Layer
    reused: bool
    cause: str


@dataclass(frozen=True, slots=True)
class Built:
    """A finished image in the store, known there by `stored_name`."""

    spec: BuildSpec
    reference: str
    image: Image
    layers: tuple[BuiltLayer, ...]


def stored_name(project: Path, reference: str) -> str:
    """What the user's store calls an image: two folders of one name have images of one name, and do not share them."""
    return f"{project.resolve()}: {reference}"


def stored_project(name: str) -> Path:
    """The folder of the project whose image the store calls so."""
    return Path(name.rpartition(": ")[0])


class Listener(Protocol):
    """Follows a build, for a terminal. image: the name of the spec; empty for what concerns all."""

    def step(self, image: str, what: str, progress: float | None = None) -> None:
        """Something is at work, such as `downloading tiny/one`; progress from 0 to 1 where it is known."""

    def layer(self, image: str, built: BuiltLayer) -> None:
        """A layer is there."""

    def note(self, image: str, text: str) -> None:
        """Something that a user should know of an image."""

    def built(self, image: Built) -> None:
        """An image is there, under its name."""
