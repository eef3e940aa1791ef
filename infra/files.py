"""Files that only their owner may read, written whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from infra.errors import ExitCode, UserError


def open_private(path: Path, *, append: bool = False) -> BinaryIO:
    """Open `path` for unbuffered writing with mode 0600; its folder is made when it is absent."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    descriptor = os.open(path, flags, 0o600)
    return os.fdopen(descriptor, "ab" if append else "wb", buffering=0)


def write_private(path: Path, text: str) -> None:
    """Replace `path` with `text` in one step, mode 0600: a reader sees the old text or the new, never a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def not_readable(path: Path, error: OSError) -> UserError:
    """What a person is told whose `path` is needed."""
    return UserError(
        f"{path} cannot be read: {os.strerror(error.errno or 0).lower()}",
        hint="change its permissions",
        exit_code=ExitCode.FILE,
    )


def not_writable(path: Path, error: OSError) -> UserError:
    """What a person is told who wanted `path` written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return UserError(
        f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}",
        hint="free some space on that disk" if full else "choose a place that you may write to",
        exit_code=ExitCode.ENVIRONMENT,
    )
