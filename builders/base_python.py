"""Finds out which Python a base image has, because compiled packages are made for one version of it."""

import posixpath
import re
from collections.abc import Mapping
from typing import Final

from builders.images.compressing import DamagedError, unpacked
from builders.images.layout import BaseImage, Layer
from builders.images.store import BlobStore
from builders.images.tar import WHITEOUT
from builders.images.untar import BROKEN_TAR, open_tar, path_of
from infra.errors import ExitCode, UserError

OLDEST: Final = (3, 11)

_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where `python3` is looked for in an image that does not say where."""
_MOST_LINKS: Final = 10


def python_of(base: BaseImage, store: BlobStore) -> str:
    """Such as `3.11`: what `python3` is in the image.

    Raises UserError: exit 4 when there is none, or an old one; 3 when a layer cannot be read.
    """
    version = _declared(base) or store.found(f"python of {base.digest}", lambda: _installed(base, store))
    if not version:
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


def _installed(base: BaseImage, store: BlobStore) -> str:
    """Where `python3` leads in the first folder of PATH that has one; empty where none has."""
    files: dict[str, str] = {}
    for layer in base.layers:
        try:
            _lay_over(files, layer, store)
        except (*BROKEN_TAR, DamagedError):
            raise UserError(
                f"a layer of the base image {base.reference} cannot be read: it is damaged",
                hint="get the image anew, or name another one with --base",
                exit_code=ExitCode.FILE,
            ) from None
    for folder in base.config.env.get("PATH", _PATH).split(":"):
        if found := _version(f"{folder.strip('/')}/python3", files):
            return found
    return ""


def _lay_over(files: dict[str, str], layer: Layer, store: BlobStore) -> None:
    """Bring up to date what has the name of a Python: where links lead, by their path; empty for other files."""
    own: dict[str, str] = {}
    removed: list[str] = []
    with (
        store.open(layer.digest) as blob,
        unpacked(blob, layer.media_type) as content,
        open_tar(content) as tar,
    ):
        for member in tar:
            path = path_of(member)
            folder, name = posixpath.split(path)
            if name == f"{WHITEOUT}{WHITEOUT}.opq":
                removed.append(folder)
            elif name.startswith(WHITEOUT):
                removed.append(posixpath.join(folder, name.removeprefix(WHITEOUT)))
            elif name.startswith("python"):
                own[path] = f"/{member.linkname}" if member.islnk() else member.linkname
    for path in [path for path in files if any(f"{path}/".startswith(f"{gone}/") for gone in removed)]:
        del files[path]
    files.update(own)


def _version(path: str, files: Mapping[str, str]) -> str | None:
    for _ in range(_MOST_LINKS):
        if path not in files:
            return None
        if match := re.search(r"/python(3\.\d+)$", path):
            return match[1]
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), files[path])).strip("/")
    return None
