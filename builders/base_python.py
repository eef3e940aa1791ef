"""Finds out which Python a base image has, because compiled packages are made for one version of it."""

import re
import tarfile
from typing import Final

from builders.images.layout import BaseImage
from builders.images.store import BlobStore
from infra.errors import ExitCode, UserError

OLDEST: Final = (3, 11)

_ON_PATH = ("usr/local/bin/", "usr/bin/", "bin/")
"""Where `python3` is looked for, as PATH has it."""


def python_of(base: BaseImage, store: BlobStore) -> str:
    """Such as `3.11`: what `python3` is in the image. Raises UserError (exit 4) when there is none, or an old one."""
    version = _declared(base) or _installed(base, store)
    if version is None:
        raise UserError(
            f"the base image {base.reference} has no python3",
            hint="name one that has it with --base, such as python:3.11-slim",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if tuple(map(int, version.split("."))) < OLDEST:
        raise UserError(
            f"the base image {base.reference} has Python {version}, which is too old",
            hint="name one with Python 3.11 or newer with --base",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return version


def _declared(base: BaseImage) -> str | None:
    """What the official images of Python say in their environment."""
    match = re.match(r"3\.\d+(?=\.|$)", base.config.env.get("PYTHON_VERSION", ""))
    return match[0] if match else None


def _installed(base: BaseImage, store: BlobStore) -> str | None:
    """Where `python3` leads in the topmost layer that has it."""
    for layer in reversed(base.layers):
        with store.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r|*") as tar:
            links = {member.name.removeprefix("./"): member.linkname for member in tar if member.issym()}
        for folder in _ON_PATH:
            if match := re.search(r"(?:^|/)python(3\.\d+)$", links.get(f"{folder}python3", "")):
                return match[1]
    return None
