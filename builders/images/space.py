"""Refuses to begin what a disk has no room for, and says what a disk refuses."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import ExitCode, UserError
from infra.files import not_readable

_SPARE_BYTES = 64 << 20
"""Left free whatever happens, so that others can go on."""


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise UserError (exit 4) when the disk of `folder`, which need not exist yet, has no room for that much."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise UserError(
            f"not enough space in {folder}: {readable(needed_bytes)} are needed and {readable(free_bytes)} are free",
            hint="free some, or choose another disk (MODEL_COMPOSE_CACHE for what is kept between builds)",
            exit_code=ExitCode.ENVIRONMENT,
        )


@contextmanager
def store_explained(root: Path) -> Iterator[None]:
    """Turn what a disk refuses inside the block into UserError; `root` is where everything is written.

    Exit 4 for that folder; 3 for a file elsewhere, which can only have been read.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        explanation = _explained(error, root)
        if explanation is None:
            raise
        raise explanation from None


def _explained(error: OSError, root: Path) -> UserError | None:
    if error.errno is None:
        return None
    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else root
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"not enough space in {root}",
            hint="free some, or set MODEL_COMPOSE_CACHE to a folder on another disk",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if place.absolute().is_relative_to(root):
        return UserError(
            f"{root} cannot be written: {os.strerror(error.errno).lower()}",
            hint="change its permissions, or set MODEL_COMPOSE_CACHE to a folder of yours",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return not_readable(place, error)


def readable(size_bytes: int) -> str:
    """A size for people: three digits and a unit."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
