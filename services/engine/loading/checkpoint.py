"""What a model's folder says about itself, read without any framework: config.json and safetensors headers."""

import contextlib
import json
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.engine.failure import MODEL_UNFIT, LoadError

_DTYPES = {"BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """dtype: the type that most weights are stored in, in torch's words; `float32` for anything unusual."""

    config: dict[str, Any]
    model_type: str
    parameters: int
    dtype: str


def read_checkpoint(folder: Path, model: str) -> Checkpoint:
    """Raises LoadError for a folder that cannot be served; `model` is how the user calls it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"{model} has no config.json, so it is no model of Hugging Face's", MODEL_UNFIT) from None
    except (ValueError, OSError):
        raise LoadError(f"{model}: config.json cannot be read", MODEL_UNFIT) from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise LoadError(f"{model}: config.json names no model_type", MODEL_UNFIT)
    for key in _foreign_code(config):
        raise LoadError(f"{model}: config.json sets {key}, which brings in foreign code", MODEL_UNFIT)
    parameters: dict[str, int] = {}
    try:
        for dtype, size in _tensors(folder):
            parameters[dtype] = parameters.get(dtype, 0) + size
    except (ValueError, KeyError, TypeError, OSError, struct.error):
        raise LoadError(f"{model}: its safetensors files are damaged", MODEL_UNFIT) from None
    if not parameters:
        raise LoadError(f"{model} has no weights in safetensors form", MODEL_UNFIT)
    most = max(parameters, key=parameters.__getitem__)
    return Checkpoint(config, config["model_type"], sum(parameters.values()), _DTYPES.get(most, "float32"))


def _foreign_code(value: Any) -> Iterator[str]:
    """Keys that make transformers fetch and run an attention or expert kernel from a repository."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("_implementation_internal") or (
                key.endswith("_implementation") and isinstance(inner, str) and "/" in inner
            ):
                yield key
            yield from _foreign_code(inner)


def read_ahead(folder: Path) -> None:
    """Have the system fetch the weights from the disk while the libraries load: they are only mapped then."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in _weights(folder):
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("model*.safetensors"))


def _tensors(folder: Path) -> Iterator[tuple[str, int]]:
    """(type, elements) of every tensor, from the headers alone."""
    for path in _weights(folder):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield tensor["dtype"], math.prod(tensor["shape"])
