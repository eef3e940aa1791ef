"""Reads the names of images, as Docker and the registries write them."""

import re
from dataclasses import dataclass, replace
from typing import Self

from infra.errors import ExitCode, UserError

DOCKER_HUB = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REFERENCE = re.compile(
    rf"""
    (?: (?P<registry> localhost(?::[0-9]+)? | \[[0-9a-fA-F:]+\](?::[0-9]+)?
        | (?:{_LABEL}\.)+{_LABEL}(?::[0-9]+)? | {_LABEL}:[0-9]+ ) / )?
    (?P<repository> {_COMPONENT}(?:/{_COMPONENT})* )
    (?: : (?P<tag> [\w][\w.-]{{0,127}} ) )?
    (?: @ (?P<digest> sha256:[0-9a-f]{{64}} ) )?
    """,
    re.VERBOSE | re.ASCII,
)
_LONGEST = 255
_LONGEST_TEXT = 512
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: `repository` of `registry`, by `tag`, by `digest`, or by both, and then the digest counts."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, exit_code: ExitCode = ExitCode.USAGE) -> Self:
        """Read `NAME`, `NAME:TAG` or `NAME@sha256:...`; a name without a registry is one of Docker Hub.

        Raises UserError with that exit code.
        """
        found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
        if found is None or len(found["registry"] or "") + len(found["repository"]) >= _LONGEST:
            raise UserError(
                f"{_shown(text)!r} is not the name of an image",
                hint="write [REGISTRY/]NAME[:TAG] in lower case, such as python:3.11-slim or localhost:5000/me/base:1",
                exit_code=exit_code,
            )
        registry, repository = found["registry"] or DOCKER_HUB, found["repository"]
        if registry == "index.docker.io":
            registry = DOCKER_HUB
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, found["tag"], found["digest"])

    @property
    def name(self) -> str:
        """Registry and repository, without what picks an image of it."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As engines show it: without Docker Hub's name, and with a tag where neither tag nor digest is given."""
        name = self.repository.removeprefix("library/") if self.registry == DOCKER_HUB else self.name
        tag = self.tag or (None if self.digest else "latest")
        return name + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")

    def pinned(self, digest: str) -> Self:
        """The same repository, by that digest alone."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        """The whole name, Docker Hub's included."""
        tag = self.tag or (None if self.digest else "latest")
        return self.name + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
