"""Files that are written whole or not at all, and those that only their owner may read."""

import errno
import os
import re
import threading
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
    """`write_whole` with mode 0600; the folder is made when it is absent."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, text, 0o600)


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace `path` with `text` in one step: a reader sees the old text or the new, never a part. Raises OSError.

    mode: less what the user's umask takes away.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, mode), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_unfinished(path: Path) -> None:
    """Remove what `write_whole` left beside `path` where it was killed; nobody else may be in it. Raises OSError."""
    ours = re.compile(re.escape(f".{path.name}.") + r"\d+-\d+")
    for left in path.parent.iterdir():
        if ours.fullmatch(left.name):
            left.unlink()


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
