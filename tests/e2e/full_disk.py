"""`model-compose` on a disk that gets full when a function is first called: `full_disk.py FUNCTION FOLDER COMMAND...`.

FOLDER: on that disk, which has few inodes, so that empty files fill it.
"""

import errno
import itertools
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from compose.cli import cli


def fill(folder: Path) -> None:
    """Leave no inode."""
    folder.mkdir()
    try:
        for number in itertools.count():
            (folder / str(number)).touch()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def after_filling(call: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> Any:
        if not folder.exists():
            fill(folder)
        return call(*arguments, **named)

    return called


if __name__ == "__main__":
    _, function, place, *command = sys.argv
    with mock.patch(function, after_filling(pkgutil.resolve_name(function), Path(place))):
        cli(command)
