"""The script that runs podman: everything in a folder of its own, and nothing left of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kube.podman import SCRIPT, podman_in

pytestmark = [pytest.mark.kube, pytest.mark.docker]


def test_everything_is_in_its_folder_until_it_is_reset(tmp_path: Path) -> None:
    folder = tmp_path / "podman"
    podman = podman_in(folder)
    podman.run("volume", "create", "kept")
    found = podman.run("info", "--format", "{{.Store.GraphRoot}} {{.Store.RunRoot}} {{.Store.VolumePath}}").split()
    assert [Path(each).parent for each in found] == [folder] * 3
    assert (folder / "volumes" / "kept").is_dir()
    subprocess.run(
        [SCRIPT, "reset"], env={**os.environ, "PODMAN_FOLDER": str(folder)}, check=True, capture_output=True, timeout=60
    )
    assert not folder.exists()


def test_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    podman_in(tmp_path)
    environment = {**os.environ, "PODMAN_FOLDER": str(tmp_path)}
    ended = subprocess.run(
        [SCRIPT, "restart"], env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (1, "podman: say install, run or reset\n")
