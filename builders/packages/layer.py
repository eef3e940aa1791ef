"""Makes the layer of an image's packages: the same bytes for the same packages, wherever it is made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

from builders.causes import Recipe
from builders.code import ImageKind
from builders.container import PACKAGES
from builders.images.space import check_space
from builders.images.tar import File, Tree, folder_tree
from builders.packages import compiling, pruning
from builders.packages.installing import install
from builders.packages.resolving import Resolution
from builders.packages.sources import Sources
from builders.packages.wanted import Wanted

PURPOSE: Final = "Python packages"

_BYTES: Final[Mapping[ImageKind, int]] = {"task": 750_000_000, "router": 50_000_000, "page": 200_000_000}
_CUDA_BYTES: Final = 4_000_000_000
"""What a layer takes at least; exact sizes are known only once everything has been fetched."""

_RULES: Final = [Path(__file__).with_name(name) for name in ("layer.py", "installing.py", "pruning.py")]
"""What decides, beside its inputs, what a layer is."""


@dataclass(frozen=True)
class PackagesLayer:
    """The layer to be of these packages. python: an interpreter here that compiles them; None leaves that to each start
    of a container, which then takes about four seconds longer for a task."""

    wanted: Wanted
    resolution: Resolution
    python: Path | None

    @classmethod
    def of(cls, wanted: Wanted, resolution: Resolution) -> "PackagesLayer":
        """With the interpreter that is found."""
        return cls(wanted, resolution, compiling.find_python(wanted.python, wanted.platform))

    @property
    def notice(self) -> str | None:
        """What a user should know of it."""
        if self.python is not None:
            return None
        wanted = self.wanted
        return (
            f"there is no Python {wanted.python} for {wanted.platform} here: containers compile their packages at start"
        )

    @cached_property
    def recipe(self) -> Recipe:
        """Equal for equal layers."""
        rules = [*_RULES, *(compiling.rules(self.wanted.kind) if self.python else ())]
        parts = {
            "the packages": self.resolution.digest,
            "Python": self.wanted.python,
            "the platform": str(self.wanted.platform),
            "what is compiled": self.wanted.kind if self.python else "nothing",
            "the rules of packing": hashlib.sha256(b"".join(path.read_bytes() for path in rules)).hexdigest(),
            "uv": version("uv"),
            "their folder": PACKAGES,
        }
        return Recipe(PURPOSE, parts)

    def make(self, folder: Path, sources: Sources, environ: Mapping[str, str]) -> Tree:
        """Install, prune and compile in `folder`, which does not exist yet. The tree refers to its files; whoever made
        it removes it. On the disk of uv's cache it costs little. Raises UserError: exit 4, before anything is fetched
        where the disk has no room for such a layer.
        """
        check_space(folder.parent, _CUDA_BYTES if self.wanted.torch == "cuda" else _BYTES[self.wanted.kind])
        folder.parent.mkdir(parents=True, exist_ok=True)
        install(self.resolution, self.wanted, folder, sources, environ)
        pruning.prune(folder)
        tree = folder_tree(folder, PACKAGES)
        if self.python is not None:
            compiled = compiling.compile_imported(folder, self.wanted.kind, self.python, PACKAGES)
            tree.update((f"{PACKAGES}/{path}", File(folder / path)) for path in compiled)
        return tree
