"""Chooses the packages of an image: exact versions, each with the hashes of its wheels."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.images.layout import exact_json
from builders.packages.sources import Sources
from builders.packages.uv import run_uv
from builders.packages.wanted import Wanted

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[a-z0-9]([a-z0-9.!+]*[a-z0-9])?")
"""As they are normalised (PEP 503 and PEP 440)."""
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One version of one package. hashes: sha256 in hexadecimal digits, of the wheels that fit; sorted.

    Raises ValueError for what is none: lines of a requirements.txt are made of it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.name) and _VERSION.fullmatch(self.version) and self.hashes):
            raise ValueError(f"{self.name}=={self.version}")
        if not all(map(_HASH.fullmatch, self.hashes)):
            raise ValueError(f"hashes of {self.name}")

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The packages that answer to what was wanted, sorted by name. wanted: its digest."""

    wanted: str
    packages: tuple[Package, ...]

    @property
    def requirements(self) -> str:
        """As a requirements.txt that admits these files and no others."""
        return "".join(
            f"{package}{''.join(f' --hash=sha256:{value}' for value in package.hashes)}\n" for package in self.packages
        )

    @property
    def digest(self) -> str:
        """sha256 over the packages; the same packages have the same, whatever they were wanted for."""
        return hashlib.sha256(exact_json([[str(package), package.hashes] for package in self.packages])).hexdigest()


def resolve_packages(wanted: Wanted, sources: Sources, environ: Mapping[str, str], scratch: Path) -> Resolution:
    """Ask the indexes. Takes some seconds, and works below `scratch`, which exists. Raises UserError: exit 4."""
    made = run_uv(
        [*("compile", "requirements.in", "--constraints", "constraints.txt"), *_OUTPUT],
        {"requirements.in": wanted.requirements, "constraints.txt": wanted.constraints},
        wanted,
        sources,
        environ,
        scratch,
    )
    return Resolution(wanted.digest, read_pylock(made["pylock.toml"]))


_OUTPUT = ("--no-header", "--no-annotate", "--format", "pylock.toml", "--output-file", "pylock.toml")


def read_pylock(text: str) -> tuple[Package, ...]:
    """The packages of a pylock.toml (PEP 751). Where each lies is left out: that differs from machine to machine."""
    return tuple(
        sorted(
            Package(
                package["name"],
                package["version"],
                tuple(sorted({wheel["hashes"]["sha256"] for wheel in package["wheels"]})),
            )
            for package in tomllib.loads(text)["packages"]
        )
    )
