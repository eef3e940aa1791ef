"""What uv complains about becomes one sentence and a remedy, without an address in it."""

from pathlib import Path

import pytest

from builders.packages import uv
from builders.packages.sources import Sources
from builders.packages.uv import explained, run_uv
from builders.packages.wanted import torch_version
from infra.errors import ExitCode, UserError
from tests.builders.packages.conftest import TASK, TASK_GPU

pytestmark = pytest.mark.unit

URL = "https://user:sentinel@index.example/simple"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "Because antlr4-python3-runtime>=4.9,<=4.9.3 has no usable wheels and only the following",
            "antlr4-python3-runtime >=4.9,<=4.9.3 has no wheel for Python 3.11 on linux/amd64, "
            "and nothing is compiled while an image is built",
        ),
        (
            "Because pyspark==3.5.0 has no usable wheels and you require pyspark==3.5.0",
            "pyspark 3.5.0 has no wheel for Python 3.11 on linux/amd64, "
            "and nothing is compiled while an image is built",
        ),
        (
            "Because torch==2.13.0+cpu has no wheels with a matching Python ABI tag (e.g., `cp312`) and you require",
            "torch 2.13.0+cpu has no wheel for Python 3.11 on linux/amd64, "
            "and nothing is compiled while an image is built",
        ),
        (
            "Because there is no version of click==99 and you require click==99",
            "there is no click 99 for Python 3.11 on linux/amd64 in the package index",
        ),
        (
            "Because kantoku was not found in the package registry and you require kantoku",
            "there is no kantoku for Python 3.11 on linux/amd64 in the package index",
        ),
        (f"Failed to fetch: {URL}/click/\n  cause: dns error", "the package index cannot be reached"),
        (
            f"Because click was not found in the package registry\n\nhint: An index URL ({URL}) could not be queried "
            "due to a lack of valid authentication credentials (401 Unauthorized)",
            "the package index refuses us: its user name and password are missing or wrong",
        ),
        (
            "Failed to download `click==8.5.1`\n  cause: Hash mismatch for `click==8.5.1`",
            "click==8.5.1 is not what its hash says: another file came under its name",
        ),
        (
            f"Failed to fetch {URL}: No space left on device (os error 28)",
            "the disk is full: the packages cannot be installed",
        ),
        (f"something else at {URL}", "the packages of the image could not be chosen or installed"),
    ],
)
def test_each_failure_has_its_own_sentence(said: str, message: str) -> None:
    error = explained(said, TASK, Sources())
    assert (error.message, error.exit_code) == (message, ExitCode.ENVIRONMENT)
    assert error.hint
    assert "sentinel" not in error.message + error.hint


def test_a_package_without_wheels_names_both_remedies() -> None:
    error = explained("pyspark==3.5.0 has no usable wheels", TASK, Sources())
    assert (
        error.hint
        == "choose another Python with --base, or build its wheel and name the folder of wheels with --wheels"
    )


def test_a_folder_of_wheels_is_named(tmp_path: Path) -> None:
    error = explained("Because click was not found in the provided package locations", TASK, Sources(wheels=tmp_path))
    assert error.message == f"there is no click for Python 3.11 on linux/amd64 in {tmp_path}"


def test_torchs_own_index_is_asked_only_when_nobody_else_has_its_cpu_build(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def run(arguments: list[str], *_: object) -> str:
        asked.append(arguments)
        return "" if "--torch-backend" in arguments else "there is no version of torch==2.13.0+cpu"

    monkeypatch.setattr(uv, "_run", run)
    run_uv(["compile"], {}, TASK, Sources(), {"UV_INDEX": "x"}, tmp_path)
    assert [arguments[-2:] for arguments in asked] == [[":all:", "--quiet"], ["--torch-backend", "cpu"]]
    monkeypatch.setattr(uv, "_run", lambda arguments, *_: run(arguments) or "Failed to fetch: https://torch.example")
    with pytest.raises(UserError) as caught:
        run_uv(["compile"], {}, TASK, Sources(), {"UV_INDEX": "x"}, tmp_path)
    assert caught.value.message == (
        f"the package index has no torch {torch_version()}+cpu for Python 3.11 on linux/amd64, "
        "and torch's own index cannot be reached"
    )


def test_a_build_with_cuda_comes_from_the_index_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def run(arguments: list[str], *_: object) -> str:
        asked.append(arguments)
        return "there is no version of torch==2.13.0"

    monkeypatch.setattr(uv, "_run", run)
    with pytest.raises(UserError, match="there is no torch"):
        run_uv(["compile"], {}, TASK_GPU, Sources(), {"UV_INDEX": "x"}, tmp_path)
    assert len(asked) == 1
