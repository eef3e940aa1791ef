"""Every benchmark runs: once, and much too short to mean anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import SCRIPTS

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).parents[2]
SHORT = {
    "bodies": (),
    "durable": ("--seconds", "0.3", "--clients", "4", "--kills", "1"),
    "encoding": ("--seconds", "0.1", "--rounds", "1"),
    "exporting": ("--smoke",),
    "layers": ("--megabytes", "1", "--package", "click"),
    "leaving": ("--clients", "9"),
    "memory": ("--smoke",),
    "overhead": ("--seconds", "0.1", "--rounds", "1"),
    "overload": ("--seconds", "1"),
    "startup": ("--rounds", "1"),
}


def test_each_script_is_known() -> None:
    assert set(SCRIPTS) == {*SHORT, "images", "peers"}  # the last two have tests of their own


@pytest.mark.parametrize("script", SHORT)
def test_a_script_prints_its_table(script: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{script}", *SHORT[script]]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(shown.stdout.splitlines()) > 1
