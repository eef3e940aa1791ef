"""What is found out about the machine."""

from pathlib import Path

import pytest

from compose.machine import Gpu, Machine, has_gpu, parse_gpu, this_machine
from services.engine.loading.machine import Processor

pytestmark = pytest.mark.unit


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    machine = Machine(Processor(fast_bfloat16=False, available_bytes=None))
    assert machine.disk(tmp_path / "a" / "b").device == tmp_path.stat().st_dev
    assert machine.disk(tmp_path / "a").free_bytes > 0


def test_a_gpu_is_read_from_the_tools_line() -> None:
    assert parse_gpu("NVIDIA H200, 143000") == Gpu("NVIDIA H200", 143000 * 2**20)
    with pytest.raises(ValueError, match="invalid literal"):
        parse_gpu("No devices were found")


@pytest.mark.parametrize(
    ("script", "gpus"),
    [("echo 'NVIDIA X, 100'", (Gpu("NVIDIA X", 100 * 2**20),)), ("echo broken", ()), ("exit 9", ())],
    ids=["one", "unreadable", "failing"],
)
def test_gpus_are_asked_of_nvidias_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpus: tuple[Gpu, ...]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("compose.machine.version", lambda _package: "2.13.0")
    assert this_machine().gpus == gpus
    monkeypatch.setattr("compose.machine.version", lambda _package: "2.13.0+cpu")
    assert not has_gpu()
