"""Refuses to begin what a disk has no room for, and says what a disk refuses."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.errors import ExitCode, UserError
from infra.files import not_readable
from infra.space import no_space, require_space

_OTHER_DISK: Final = "free some, or choose another disk (MODEL_COMPOSE_CACHE for what is kept between builds)"


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise UserError (exit 4) when the disk of `folder`, which need not exist yet, has no room for that much."""
    require_space(folder, needed_bytes, _OTHER_DISK)


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
        return no_space(root, _OTHER_DISK)
    if place.absolute().is_relative_to(root):
        return UserError(
            f"{root} cannot be written: {os.strerror(error.errno).lower()}",
            hint="change its permissions, or set MODEL_COMPOSE_CACHE to a folder of yours",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return not_readable(place, error)
