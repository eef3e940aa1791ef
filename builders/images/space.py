"""Refuses to begin what a disk has no room for."""

import shutil
from pathlib import Path

from infra.errors import ExitCode, UserError

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


def readable(size_bytes: int) -> str:
    """A size for people: three digits and a unit."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
