"""The installed command notices when somebody else's package stands in the place of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

CHECKOUT = Path(__file__).parents[2]
SCRIPT = CHECKOUT / "compose/bin/model-compose"
HINT = "hint: install it in an environment of its own, and unset PYTHONPATH\n"


def command(*first: Path) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(map(str, [*first, CHECKOUT]))
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_runs_the_command() -> None:
    ended = command()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "model-compose 0.1.0\n", "")


def test_a_foreign_package_is_named_and_never_imported(tmp_path: Path) -> None:
    intruder = tmp_path / "services/__init__.py"
    intruder.parent.mkdir()
    intruder.write_text("raise SystemExit('imported')")
    ended = command(tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"error: package `services` of model-compose is not there: {intruder} is in its place\n{HINT}"
    )


def test_a_module_of_the_same_name_is_an_intruder_too(tmp_path: Path) -> None:
    (tmp_path / "ui.py").write_text("")
    ended = command(tmp_path)
    assert ended.returncode == 2
    assert f"{tmp_path / 'ui.py'} is in its place" in ended.stderr


def test_two_installations_are_not_mixed(tmp_path: Path) -> None:
    other = tmp_path / "infra/__init__.py"
    other.parent.mkdir()
    other.write_text('__model_compose__ = "model-compose"\n')
    ended = command(tmp_path)
    mixed = " and ".join(sorted([str(CHECKOUT), str(tmp_path)]))
    assert (ended.returncode, ended.stderr) == (
        2,
        f"error: two installations of model-compose are mixed: {mixed}\n{HINT}",
    )
