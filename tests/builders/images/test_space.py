"""What a disk has no room for is not begun, and what it refuses is said with the place and the remedy."""

import errno
import os
from pathlib import Path

import pytest

from builders.images.space import check_space, store_explained
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


def test_what_has_no_room_is_refused(tmp_path: Path) -> None:
    check_space(tmp_path / "new" / "folder", 0)
    with pytest.raises(UserError, match=r"^not enough space in .*: 1000000 TB are needed and ") as caught:
        check_space(tmp_path, 10**18)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("error", "message", "exit_code"),
    [
        (OSError(errno.ENOSPC, "", "/home/me/cache/x"), "not enough space in /home/me/cache", 4),
        (OSError(errno.EDQUOT, ""), "not enough space in /home/me/cache", 4),
        (OSError(errno.EROFS, ""), "/home/me/cache cannot be written: read-only file system", 4),
        (OSError(errno.EACCES, "", b"/home/me/cache/x"), "/home/me/cache cannot be written: permission denied", 4),
        (OSError(errno.EACCES, "", "/models/w"), "/models/w cannot be read: permission denied", 3),
        (OSError(errno.EISDIR, "", "my.lock"), "my.lock cannot be read: is a directory", 3),
    ],
)
def test_a_refusal_names_the_place(error: OSError, message: str, exit_code: int) -> None:
    with pytest.raises(UserError) as caught, store_explained(Path("/home/me/cache")):
        raise error
    assert (caught.value.message, caught.value.exit_code) == (message, exit_code)


@pytest.mark.parametrize("error", [OSError("no number"), ConnectionResetError(errno.ECONNRESET, os.strerror(104))])
def test_what_is_no_matter_of_a_disk_comes_through(error: OSError) -> None:
    with pytest.raises(type(error)) as caught, store_explained(Path("/cache")):
        raise error
    assert caught.value is error
