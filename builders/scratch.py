"""A folder that one build works in, on the disk of the store; what a killed build had left is removed by the next."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra.locks import only_one

_HELD = "held"
"""A file that the build keeps locked as long as it lives."""


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """An empty folder below `root`, gone after the block."""
    with only_one(root / "lock"):
        _sweep(root)
        folder = Path(tempfile.mkdtemp(dir=root))
        held = (folder / _HELD).open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
    with held:
        (folder / "work").mkdir()
        try:
            yield folder / "work"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """To be called by the one that holds the lock of `root`."""
    for folder in root.iterdir():
        if folder.is_dir() and _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether its build is gone. A folder gets its file before another build looks, and loses it only at its end."""
    try:
        with (folder / _HELD).open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True
