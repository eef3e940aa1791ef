"""The folder of a build is its own as long as it lives, and gone soon after."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.scratch import scratch_folder

pytestmark = pytest.mark.unit


def folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


def test_it_is_empty_and_gone_after_the_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "work") as folder:
        assert list(folder.iterdir()) == []
        (folder / "a").mkdir()
        (folder / "a" / "file").touch()
    assert folders(tmp_path / "work") == []


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_folder(tmp_path):
        raise KeyError
    assert folders(tmp_path) == []


def test_another_build_leaves_it_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as first:
        with scratch_folder(tmp_path) as second:
            assert first != second
        assert first.is_dir()


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.scratch import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_that_of_a_killed_build_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = folders(tmp_path)
    with scratch_folder(tmp_path) as folder:
        assert folders(tmp_path) == [folder.parent]
        assert not left.exists()


def test_one_whose_build_was_killed_before_it_was_held_or_while_it_was_removed_is_removed(tmp_path: Path) -> None:
    (tmp_path / "left" / "work").mkdir(parents=True)
    with scratch_folder(tmp_path) as folder:
        assert folders(tmp_path) == [folder.parent]
