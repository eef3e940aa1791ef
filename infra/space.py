"""Refuses to begin what a disk has no room for."""

import shutil
from pathlib import Path
from typing import Final

from infra.errors import ExitCode, UserError
from infra.sizes import size

_SPARE_BYTES: Final = 64 << 20
"""Left free whatever happens, so that others can go on."""


def require_space(folder: Path, needed_bytes: int, hint: str) -> None:
    """Raise UserError (exit 4) when the disk of `folder`, which need not exist yet, has no room for that much.

    hint: which setting names another disk.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise no_space(folder, hint, f": {size(needed_bytes)} are needed and {size(free_bytes)} are free")


def no_space(folder: Path, hint: str, figures: str = "") -> UserError:
    """The disk that `folder` is on is too small."""
    return UserError(f"not enough space in {folder}{figures}", hint=hint, exit_code=ExitCode.ENVIRONMENT)
