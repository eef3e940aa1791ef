"""What is asked for: the packages of one kind of image, for one Python and one platform."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import infra
from builders.code import ImageKind
from builders.images.layout import Platform, exact_json
from infra.errors import ExitCode, UserError

Torch = Literal["cpu", "cuda"]

_REQUIREMENTS = Path(infra.__file__).parent / "requirements"
_FILES: Mapping[ImageKind, str] = {"task": "tasks.txt", "router": "router.txt", "page": "page.txt"}
_TAGS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""By architecture, what uv calls the oldest system that torch's own wheels run on."""
CPU_LABEL = "+cpu"
"""How torch's builds without CUDA are marked, in its own index as in a folder of wheels."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The packages of an image of this kind. python: such as `3.11`. gpu: whether torch is to be its CUDA build."""

    kind: ImageKind
    python: str
    platform: Platform
    gpu: bool = False

    @property
    def torch(self) -> Torch | None:
        """Which build of torch it needs, if any."""
        if self.kind != "task":
            return None
        return "cuda" if self.gpu else "cpu"

    @property
    def tag(self) -> str:
        """The platform as uv names it. Raises UserError (exit 2) for one without wheels."""
        if self.platform.os != "linux" or self.platform.architecture not in _TAGS:
            raise UserError(
                f"there are no packages for {self.platform}",
                hint="build for linux/amd64 or linux/arm64",
                exit_code=ExitCode.USAGE,
            )
        return _TAGS[self.platform.architecture]

    @property
    def requirements(self) -> str:
        """What the image needs, as requirements.txt says it."""
        return _read(_FILES[self.kind])

    @property
    def constraints(self) -> str:
        """The versions that we test with, and which build of torch may be taken."""
        pinned = _read("constraints.txt")
        match self.torch:
            case "cpu":
                return pinned + f"torch=={torch_version()}{CPU_LABEL}\n"
            case "cuda":
                return pinned + f"torch!={torch_version()}{CPU_LABEL}\n"
        return pinned

    @property
    def digest(self) -> str:
        """sha256 over all that decides which packages these are, but for what an index has on the day."""
        parts = [self.requirements, self.constraints, self.python, str(self.platform)]
        return hashlib.sha256(exact_json(parts)).hexdigest()


def torch_version() -> str:
    """The version of torch that our constraints pin."""
    found = re.search(r"^torch==(\S+)$", _read("constraints.txt"), re.MULTILINE)
    assert found is not None, "a test checks that constraints.txt pins what is required"
    return found[1]


def _read(name: str) -> str:
    return (_REQUIREMENTS / name).read_text(encoding="utf-8")
