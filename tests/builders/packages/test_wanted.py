"""The requirements of an image's kind, and which build of torch is taken."""

from dataclasses import replace
from pathlib import Path

import pytest

from builders.images.layout import Platform
from builders.packages.wanted import Wanted, torch_version
from infra.errors import ExitCode, UserError
from tests.builders.packages.conftest import ROUTER, TASK, TASK_GPU

pytestmark = pytest.mark.unit


def test_a_kind_has_its_own_requirements(requirements: Path) -> None:
    assert [wanted.requirements for wanted in (ROUTER, TASK, TASK_GPU)] == ["snail>=1\n", "torch>=2\n", "torch>=2\n"]
    assert (ROUTER.torch, TASK.torch, TASK_GPU.torch) == (None, "cpu", "cuda")


def test_only_the_wanted_build_of_torch_is_admitted(requirements: Path) -> None:
    pins = "snail==1.5\nshell==2.0\ntorch==2.13.0\n"
    assert ROUTER.constraints == pins
    assert TASK.constraints == pins + "torch==2.13.0+cpu\n"
    assert TASK_GPU.constraints == pins + "torch!=2.13.0+cpu\n"


def test_our_own_files_pin_torch() -> None:
    assert torch_version()
    assert "transformers" in TASK.requirements
    assert "torch" not in ROUTER.requirements


def test_the_digest_tells_apart_whatever_decides_the_packages(requirements: Path) -> None:
    others = [
        ROUTER,
        TASK,
        TASK_GPU,
        replace(TASK, python="3.12"),
        replace(TASK, platform=Platform.parse("linux/arm64")),
    ]
    assert len({wanted.digest for wanted in others}) == len(others)
    assert replace(ROUTER, gpu=True).digest == ROUTER.digest
    before = ROUTER.digest
    (requirements / "constraints.txt").write_text("snail==1.6\ntorch==2.13.0\n")
    assert ROUTER.digest != before


def test_platforms_are_named_as_uv_names_them() -> None:
    assert TASK.tag == "x86_64-manylinux_2_28"
    assert replace(TASK, platform=Platform("linux", "arm64")).tag == "aarch64-manylinux_2_28"
    with pytest.raises(UserError, match="there are no packages for linux/riscv64") as caught:
        _ = Wanted("task", "3.11", Platform("linux", "riscv64")).tag
    assert caught.value.exit_code == ExitCode.USAGE
