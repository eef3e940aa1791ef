"""Chooses the packages of an image: exact versions, each with the hashes of its wheels."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from builders.images.layout import exact_json
from builders.packages.sources import Sources
from builders.packages.uv import run_uv
from builders.packages.wanted import Wanted


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One version of one package. hashes: sha256 in hexadecimal digits, of the wheels that fit; sorted."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "hashes": list(self.hashes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError."""
        return cls(value["name"], value["version"], tuple(value["hashes"]))


@dataclass(frozen=True, slots=True)
class Resolution:
    """The packages that answer to what was wanted, sorted by name. wanted: its digest."""

    wanted: str
    packages: tuple[Package, ...]

    @property
    def requirements(self) -> str:
        """As a requirements.txt that admits these files and no others."""
        return "".join(
            f"{package.name}=={package.version}{''.join(f' --hash=sha256:{value}' for value in package.hashes)}\n"
            for package in self.packages
        )

    @property
    def digest(self) -> str:
        """sha256 over the packages; the same packages have the same, whatever they were wanted for."""
        return hashlib.sha256(exact_json([package.to_json() for package in self.packages])).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"wanted": self.wanted, "packages": [package.to_json() for package in self.packages]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError."""
        return cls(value["wanted"], tuple(map(Package.from_json, value["packages"])))


def resolve_packages(wanted: Wanted, sources: Sources, environ: Mapping[str, str]) -> Resolution:
    """Ask the indexes. Takes some seconds. Raises UserError: exit 4."""
    made = run_uv(
        [*("compile", "requirements.in", "--constraints", "constraints.txt"), *_OUTPUT],
        {"requirements.in": wanted.requirements, "constraints.txt": wanted.constraints},
        wanted,
        sources,
        environ,
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
