"""What a repository in sentence-transformers' layout says about itself, read without any framework.

`modules.json` lists the steps from a text to its vector: the network, pooling, dense layers, normalisation.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.engine.base import Pooling
from services.engine.failure import MODEL_UNFIT, LoadError

_POOLINGS: Final[Mapping[str, Pooling]] = {"mean": "mean", "cls": "cls", "max": "max", "lasttoken": "lasttoken"}
_OLDER_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WITHOUT_EFFECT = ("Normalize", "Dropout")
"""Normalising is the action's choice; dropout belongs to training."""


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A linear layer behind the pooling. folder: where its weights are. activation: the class, by torch's name."""

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """max_length: tokens of one text, special ones included; None: whatever the network can read.

    prompt: stands before every text. other_prompts: names of those that nobody asked for.
    activation: what makes a score of a cross-encoder's logit: the class, by torch's name; None: the usual one.
    """

    pooling: Pooling
    max_length: int | None = None
    lower_case: bool = False
    dense: tuple[DenseLayer, ...] = ()
    prompt: str = ""
    other_prompts: tuple[str, ...] = ()
    activation: str | None = None


def read_sentence_layout(folder: Path, model: str) -> SentenceLayout | None:
    """None for a folder that is not in this layout; raises LoadError for one that cannot be served as it is meant.

    model: how the user calls it.
    """
    if not (folder / "modules.json").is_file():
        return None
    try:
        return _read(folder, model)
    except FileNotFoundError as error:
        name = Path(error.filename).relative_to(folder)
        raise LoadError(f"{model} lacks {name}, which its modules.json names; fetch it again", MODEL_UNFIT) from None
    except (ValueError, OSError, KeyError, TypeError, AttributeError):
        raise LoadError(f"{model}: the files that modules.json names cannot be read", MODEL_UNFIT) from None


def _read(folder: Path, model: str) -> SentenceLayout:
    pooling: Pooling = "mean"
    dense = []
    includes_prompt = True
    for module in _read_json(folder / "modules.json"):
        kind, at = module["type"].rpartition(".")[2], _inside(folder, module["path"])
        if kind == "Transformer" and at == folder:
            continue
        if kind == "Pooling":
            config = _read_json(at / "config.json")
            pooling = _pooling(config, model)
            includes_prompt = config.get("include_prompt", True)
        elif kind == "Dense":
            dense.append(_dense(at, model))
        elif kind not in _WITHOUT_EFFECT:
            where = f" in {module['path']}" if module["path"] else ""
            raise LoadError(
                f"{model} needs the step {kind}{where} of sentence-transformers, {_UNSUPPORTED}", MODEL_UNFIT
            )
    text = _read_json(folder / "sentence_bert_config.json", {})
    prompts = _read_json(folder / "config_sentence_transformers.json", {})
    known = {name: written for name, written in (prompts.get("prompts") or {}).items() if written}
    prompt = known.pop(prompts.get("default_prompt_name"), "")
    if prompt and not includes_prompt:
        raise LoadError(f"{model} leaves its prompt out of the pooling, {_UNSUPPORTED}", MODEL_UNFIT)
    return SentenceLayout(
        pooling,
        text.get("max_seq_length"),
        bool(text.get("do_lower_case")),
        tuple(dense),
        prompt,
        tuple(sorted(known)),
        class_name(prompts.get("activation_fn")),
    )


_UNSUPPORTED = "which is not supported"


def _pooling(config: Mapping[str, Any], model: str) -> Pooling:
    named = config.get("pooling_mode") or [name for key, name in _OLDER_KEYS.items() if config.get(key)] or "mean"
    names = [named] if isinstance(named, str) else list(named)
    if len(names) == 1 and names[0] in _POOLINGS:
        return _POOLINGS[names[0]]
    raise LoadError(f"{model} pools by {' and '.join(names)}, {_UNSUPPORTED}", MODEL_UNFIT)


def _dense(folder: Path, model: str) -> DenseLayer:
    config = _read_json(folder / "config.json")
    inner = {config.get("module_input_name"), config.get("module_output_name")} - {None, "sentence_embedding"}
    if inner or config.get("use_residual"):
        raise LoadError(f"{model} wires its layer {folder.name} in a way of its own, {_UNSUPPORTED}", MODEL_UNFIT)
    if not (folder / "model.safetensors").is_file():
        raise LoadError(
            f"{model}: the layer {folder.name} has no model.safetensors; save the model again with"
            " sentence-transformers, which writes one",
            MODEL_UNFIT,
        )
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    return DenseLayer(
        folder,
        int(config["in_features"]),
        int(config["out_features"]),
        bool(config.get("bias", True)),
        class_name(activation) or "",
    )


def class_name(path: str | None) -> str | None:
    """`Tanh` of `torch.nn.modules.activation.Tanh`."""
    return path.rpartition(".")[2] if path else None


def _inside(folder: Path, path: str) -> Path:
    """A folder that a repository names, which must lie in it."""
    if not path:
        return folder
    if Path(path).name != path or path == "..":
        raise ValueError("outside of the repository")
    return folder / path


def _read_json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    return json.loads(path.read_text(encoding="utf-8"))
