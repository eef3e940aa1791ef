"""The wheel, the requirement files and the import rules are what the design says."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
PACKAGES = ["builders", "compose", "infra", "services", "ui"]
PARTS = ["cli", "router", "page", "tasks"]


def test_the_wheel_holds_exactly_the_five_packages_and_the_command(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            clean_copy(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert sorted(top for top in tops if ".d" not in top) == PACKAGES
    assert any(name.endswith("scripts/model-compose") for name in names)
    assert "infra/requirements/tasks.txt" in names
    assert not [name for name in names if name.startswith("tests/")]


def clean_copy(temporary: Path) -> Path:
    """The tracked files alone, so that no stale build folder of the checkout ends in the wheel."""
    target = temporary / "source"
    target.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(
        ["tar", "--create", "--null", "--files-from=-", "--file", temporary / "source.tar"],
        cwd=ROOT,
        input=tracked,
        check=True,
    )
    subprocess.run(["tar", "--extract", "--file", temporary / "source.tar"], cwd=target, check=True)
    return target


def test_a_plain_installation_needs_what_the_four_parts_need_together() -> None:
    declared = requires("model-compose") or []
    plain = {line for line in declared if "extra ==" not in line}
    of_parts = {line.split("; extra ==")[0].split(" and extra ==")[0] for line in declared if "extra ==" in line}
    assert {normal(line) for line in plain} == {normal(line) for line in of_parts}


def normal(requirement: str) -> str:
    return requirement.replace("(", "").replace(")", "").replace(" ", "").replace("'", '"')


def test_every_requirement_is_pinned_for_ci() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "infra/requirements/constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {
        re.split(r"[\[>;]", line)[0].strip().lower().replace("_", "-")
        for part in PARTS
        for line in (ROOT / f"infra/requirements/{part}.txt").read_text().splitlines()
        if line
    }
    wanted |= {
        name.lower() for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    }
    assert wanted - pinned == set()


def test_a_forbidden_import_is_caught(tmp_path: Path) -> None:
    copy = clean_copy(tmp_path)
    with (copy / "infra" / "unit.py").open("a") as file:
        file.write("\nimport compose.cli\n")
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "infra.unit -> compose.cli" in checked.stdout


@pytest.mark.parametrize(
    "module", ["compose.cli", "compose.plan", "infra.unit", "services.catalog", "services.router.app", "ui.client"]
)
def test_what_is_light_loads_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'bentoml', 'gradio'}} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"
