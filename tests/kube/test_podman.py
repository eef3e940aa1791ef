"""The script that runs podman: everything in a folder of its own, and nothing left of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kube.podman import SCRIPT, podman_in

pytestmark = [pytest.mark.kube, pytest.mark.docker]


def test_everything_is_in_its_folder_until_it_is_reset(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with a name that is longer than what podman takes"
    podman = podman_in(folder)
    podman.run("volume", "create", "kept")
    places = "{{.Store.GraphRoot}}\n{{.Store.VolumePath}}\n{{.Store.RunRoot}}"
    *stored, state = podman.run("info", "--format", places).splitlines()
    assert [Path(each).parent for each in stored] == [folder] * 2
    assert (folder / "volumes" / "kept").is_dir()
    subprocess.run(
        [SCRIPT, "reset"], env={**os.environ, "PODMAN_FOLDER": str(folder)}, check=True, capture_output=True, timeout=60
    )
    assert not folder.exists()
    assert not Path(state).exists()


def test_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    podman_in(tmp_path)
    environment = {**os.environ, "PODMAN_FOLDER": str(tmp_path)}
    ended = subprocess.run(
        [SCRIPT, "restart"], env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (1, "podman: say install, run or reset\n")
