"""Which of our own files each kind of image gets, as they are installed here."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import services

ImageKind = Literal["task", "router", "page"]

_INSTALLED = Path(services.__file__).parents[1]
"""The folder that holds our five packages."""

_PACKAGES: Mapping[ImageKind, tuple[str, ...]] = {
    "task": ("services",),
    "router": ("services",),
    "page": ("services", "ui"),
}
_LEFT_OUT: Mapping[ImageKind, frozenset[str]] = {
    "task": frozenset({"services/router"}),
    "router": frozenset({"services/engine", "services/tasks"}),
    "page": frozenset({"services/engine", "services/tasks", "services/router"}),
}
_SUFFIXES = frozenset({".py", ".html", ".css", ".js"})


@dataclass(frozen=True)
class Code:
    """Contents by their path from the root of an import path, such as `services/entry.py`, sorted.

    They are read once: what a build names by its digest stays what it is, also while somebody edits the files.
    """

    files: Mapping[str, bytes]

    @cached_property
    def digest(self) -> str:
        """sha256 over the sorted paths and contents."""
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
        return digest.hexdigest()


def tool_version() -> str:
    """Our own version; `unknown` where only the sources are there."""
    try:
        return version("model-compose")
    except PackageNotFoundError:
        return "unknown"


def code_for(kind: ImageKind, installed: Path = _INSTALLED) -> Code:
    """Our files in an image of this kind. What a developer left lying about, links included, is not among them."""
    packages = _PACKAGES[kind]
    found = {name: path for package in packages for name, path in _walk(installed, package, _LEFT_OUT[kind])}
    return Code({name: path.read_bytes() for name, path in sorted(found.items())})


def _walk(root: Path, folder: str, left_out: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The files of `folder` and the folders in it that are packages."""
    for path in (root / folder).iterdir():
        name = f"{folder}/{path.name}"
        if path.is_symlink() or name in left_out:
            continue
        if path.is_dir() and (path / "__init__.py").is_file():
            yield from _walk(root, name, left_out)
        elif path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith("."):
            yield name, path
