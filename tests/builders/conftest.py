"""Small models made by hand, which load nowhere but have the right files; and a hub that is asked again at once."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}

MakeFolder = Callable[..., Path]


def safetensors(count: int, fill: int = 0) -> bytes:
    """A safetensors file with one tensor of `count` bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes((fill + number) % 251 for number in range(count))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed requests are repeated at once."""
    monkeypatch.setattr("builders.hub_errors.RETRY_DELAYS_S", (0.0, 0.0))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder(name, **{"file name": content})`: config.json, tokenizer.json and weights of 100 kB, and more."""

    def make(name: str = "model", files: Mapping[str, bytes | str | None] | None = None, size: int = 100_000) -> Path:
        folder = tmp_path / "folders" / name
        contents: dict[str, bytes | str | None] = {
            "config.json": json.dumps(CONFIG),
            "tokenizer.json": "{}",
            "model.safetensors": safetensors(size),
            **(files or {}),
        }
        for path, content in contents.items():
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An empty cache, and no hub."""
    return {
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
