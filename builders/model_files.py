"""Which files of a model are worth having: safetensors, configuration and what the tokenizer reads; never code."""

import json
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from infra.errors import ExitCode, UserError

CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"

CHAT_TEMPLATES = "additional_chat_templates"
"""The one folder of a repository that transformers looks into."""

MODULES = "modules.json"
"""Where sentence-transformers lists the steps from a text to its vector."""

STEPS = ("[0-9]_*/config.json", "[0-9]_*/model.safetensors")
"""What sentence-transformers keeps of the steps behind a network, such as 1_Pooling."""

_VOCABULARIES = ("*.model", "*.spm", "*.tiktoken")
_COMPANIONS = ("*.json", "*.jinja", "vocab.txt", "vocab.bpe", "merges.txt", *_VOCABULARIES)
_FOREIGN_WEIGHTS = {
    "*.gguf": "GGUF files",
    "*.onnx": "ONNX files",
    "onnx/*": "ONNX files",
    "*.h5": "TensorFlow weights",
    "*.msgpack": "Flax weights",
    "consolidated*": "weights in their maker's own format",
    "*.pth": "weights in their maker's own format",
}


def weights_of(names: Collection[str]) -> str | None:
    """The file that is the weights, or that lists them; None when there is nothing we can load.

    The order is transformers' own, so that what is fetched is what will be loaded; pickles come last because they are
    converted first.
    """
    return next((name for name in (SAFETENSORS, SAFETENSORS_INDEX, PICKLE, PICKLE_INDEX) if name in names), None)


def is_pickle(weights: str) -> bool:
    """Whether these weights must be converted before anything may load them."""
    return weights in (PICKLE, PICKLE_INDEX)


def is_index(weights: str) -> bool:
    """Whether this file lists the weights instead of being them."""
    return weights in (SAFETENSORS_INDEX, PICKLE_INDEX)


def companions_of(names: Collection[str]) -> tuple[str, ...]:
    """The small files beside the weights, sorted: configuration, tokenizer, templates, steps behind the network.

    None of them is hidden: what people keep in such files is not for others.
    """
    return tuple(sorted(filter(_is_companion, names)))


def _is_companion(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder.count("/") == 0 and any(fnmatchcase(name, pattern) for pattern in STEPS):
        return True
    if file.startswith("."):
        return False
    if folder == CHAT_TEMPLATES:
        return file.endswith(".jinja")
    return (
        not folder and not file.endswith(".index.json") and any(fnmatchcase(file, pattern) for pattern in _COMPANIONS)
    )


def has_vocabulary(names: Collection[str]) -> bool:
    """Whether a tokenizer can be made of these files."""
    if "tokenizer.json" in names or "vocab.txt" in names:
        return True
    if any(fnmatchcase(name, pattern) for name in names for pattern in _VOCABULARIES):
        return True
    return "vocab.json" in names and "merges.txt" in names


def shards_of(index: str, name: str) -> tuple[str, ...]:
    """The weight files that an index lists, sorted; raises ValueError when it is not one.

    index: its text. name: its own, such as `model.safetensors.index.json`: what it lists ends as that says, so that no
    index of safetensors leads to a pickle. A shard lies beside its index: a name with a folder in it is not followed.
    """
    suffix = re.escape(PurePosixPath(name.removesuffix(".index.json")).suffix)
    try:
        shards = sorted(set(json.loads(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not an index of weights") from error
    if not shards or not all(
        isinstance(shard, str) and re.fullmatch(rf"[\w-][\w.-]*{suffix}", shard) for shard in shards
    ):
        raise ValueError("not an index of weights")
    return tuple(shards)


def no_weights(model: str, names: Collection[str]) -> UserError:
    """Why a model with these files cannot be loaded, as exactly as the names tell."""
    if "adapter_config.json" in names:
        return _unfit(
            f"{model} is a PEFT adapter, not a whole model; adapters are not supported yet",
            "name the model that the adapter was trained on, or a repository with the two merged",
        )
    found = sorted(
        {what for pattern, what in _FOREIGN_WEIGHTS.items() if any(fnmatchcase(name, pattern) for name in names)}
    )
    if found:
        return _unfit(
            f"{model} holds {' and '.join(found)} only, which cannot be loaded here",
            "name a repository with model.safetensors; the makers of a converted model link the one they started from",
        )
    if CONFIG not in names:
        return _unfit(
            f"{model} is not a transformers model: it has no {CONFIG}",
            "name a repository or a folder that transformers' `save_pretrained` wrote",
        )
    return _unfit(
        f"{model} has no weights: neither {SAFETENSORS} nor {PICKLE} is there",
        "name a repository or a folder with the weights in it",
    )


def _unfit(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.FILE)
