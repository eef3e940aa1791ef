"""A folder is judged by its config.json and its headers alone."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from services.engine.failure import MODEL_UNFIT, LoadError
from services.engine.loading.checkpoint import Checkpoint, read_checkpoint
from services.engine.loading.machine import available_memory_bytes, has_fast_bfloat16, processors, resident_bytes

pytestmark = pytest.mark.unit


def write(folder: Path, config: Any, **files: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    for name, tensors in files.items():
        header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def tensor(dtype: str, *shape: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}


def test_parameters_and_the_type_most_of_them_have(tmp_path: Path) -> None:
    config = {"model_type": "llama"}
    folder = write(tmp_path, config, model={"a": tensor("BF16", 8, 4), "b": tensor("F32", 4)}, consolidated={})
    assert read_checkpoint(folder, "tiny") == Checkpoint(config, "llama", 36, "bfloat16")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "tiny: config.json names no model_type"),
        ({"architectures": ["LlamaForCausalLM"]}, "tiny: config.json names no model_type"),
        (
            {"model_type": "llama", "text_config": {"attn_implementation": "someone/kernel"}},
            "tiny: config.json sets attn_implementation, which brings in foreign code",
        ),
        ({"model_type": "llama", "attn_implementation": "sdpa"}, "tiny has no weights in safetensors form"),
    ],
)
def test_a_folder_that_cannot_be_served(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_checkpoint(write(tmp_path, config), "tiny")
    assert (caught.value.message, caught.value.exit_code) == (message, MODEL_UNFIT)


def test_broken_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoadError, match=r"tiny: config\.json cannot be read"):
        read_checkpoint(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("text", "fast"),
    [("flags\t\t: fpu avx512_bf16 amx_tile\n", True), ("flags : fpu avx2\nmodel name : bf16\n", False), ("", False)],
)
def test_processors_with_bfloat16(tmp_path: Path, text: str, fast: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_fast_bfloat16(tmp_path / "cpuinfo") == fast
    assert not has_fast_bfloat16(tmp_path / "absent")


def test_free_memory_is_within_the_containers_limit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       100 kB\nMemAvailable:    50 kB\n")
    assert available_memory_bytes(meminfo, tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory_bytes(meminfo, tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    assert available_memory_bytes(meminfo, tmp_path) == 2000
    assert available_memory_bytes(tmp_path / "absent", tmp_path) is None


def test_this_process_holds_memory() -> None:
    assert resident_bytes() > 1_000_000


@pytest.mark.parametrize(("limit", "count"), [("max 100000", None), ("150000 100000", 2), ("10000 100000", 1)])
def test_a_containers_share_of_the_processors(tmp_path: Path, limit: str, count: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert processors(tmp_path) == count


def test_without_a_container_there_is_no_limit(tmp_path: Path) -> None:
    assert processors(tmp_path) is None
