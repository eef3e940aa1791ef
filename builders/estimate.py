"""How much memory serving a model takes, from what its headers and config.json say. Pure.

The constants were measured with `python -m benchmarks.memory`, which also tells how far the estimate is off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from services.engine.loading.precision import BYTES, PACKED_BYTES

FRAMEWORK_BYTES: Final = 210_000_000
"""What Python, torch and transformers hold in a process that serves the smallest model."""
SHARED_BYTES: Final = 115_000_000
"""Their code in memory, which all tasks of a machine share."""
GPU_CONTEXT_BYTES: Final = 600_000_000
"""What CUDA's own context and libraries take of a GPU's memory; taken from reports, for want of one to measure on."""

_PROMPT_CHUNK: Final = 1024
"""Tokens of a prompt that the engine reads at once."""
_STORED: Final = {"BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header; dtype in the header's words."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before its weights are read.

    rough: there was no header, so number and type of the weights are taken from file sizes.
    """

    config: Mapping[str, Any]
    tensors: Sequence[Tensor]
    rough: bool = False

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def stored(self) -> str:
        """The type that most weights are stored in, in torch's words; `float32` for anything unusual."""
        counts: dict[str, int] = {}
        for tensor in self.tensors:
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.elements
        return _STORED.get(max(counts, key=counts.__getitem__), "float32") if counts else "float32"

    @property
    def context(self) -> int | None:
        """Tokens that the model can attend to, where it says so."""
        value = _first(_text(self.config), "max_position_embeddings", "n_positions")
        return value or None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that serving takes at once, where the network runs.

    weights: in the type it computes in. cache: keys and values of `tokens` tokens. working: what reading a chunk of a
    prompt takes. framework: of the process itself.
    """

    weights: int
    cache: int
    working: int
    framework: int
    tokens: int

    @property
    def least(self) -> int:
        """Without this nothing works: the model loads and answers something short."""
        return self.framework + self.weights

    @property
    def total(self) -> int:
        """With a conversation as long as `tokens`."""
        return self.framework + self.weights + self.cache + self.working


def memory_of(facts: Facts, *, dtype: str, quantization: str | None, tokens: int, on_processor: bool) -> Memory:
    """What one process with this model takes; dtype: the type it computes in, in torch's words."""
    size = BYTES[dtype]
    whole = facts.parameters * size
    weights = whole
    if quantization == "int8":
        linear = _linear_elements(facts)
        kept = whole if facts.stored == dtype else whole - linear * size  # a file stays mapped as a whole
        weights = kept + (linear + _head_elements(facts)) * PACKED_BYTES
    return Memory(
        weights=weights,
        cache=tokens_bytes(facts.config, size, tokens),
        working=_working_bytes(facts, size, tokens),
        framework=FRAMEWORK_BYTES if on_processor else GPU_CONTEXT_BYTES,
        tokens=tokens,
    )


def tokens_bytes(config: Mapping[str, Any], size: int, tokens: int) -> int:
    """What the keys and values of so many tokens take; 0 for a model that keeps none."""
    text = _text(config)
    layers = _first(text, "num_hidden_layers", "n_layer", "num_layers", "decoder_layers")
    heads = _first(text, "num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    width = _first(text, "hidden_size", "n_embd", "d_model")
    if not (layers and heads and width):
        return 0
    a_token = 2 * (_first(text, "num_key_value_heads") or heads) * (_first(text, "head_dim") or width // heads) * size
    window = _first(text, "sliding_window") if text.get("use_sliding_window", True) else 0
    kinds = text.get("layer_types") or ["sliding_attention" if window else "full_attention"] * layers
    short = sum(kind == "sliding_attention" for kind in kinds) if window else 0
    return a_token * ((layers - short) * tokens + short * min(tokens, window or tokens))


def _working_bytes(facts: Facts, size: int, tokens: int) -> int:
    """The widest layer's values for one chunk of a prompt, and one row of scores over the vocabulary."""
    text = _text(facts.config)
    width = _first(text, "hidden_size", "n_embd", "d_model")
    inner = _first(text, "intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim") or 4 * width
    return min(tokens, _PROMPT_CHUNK) * (4 * width + 3 * inner) * size + 8 * _first(text, "vocab_size") * 4


def _linear_elements(facts: Facts) -> int:
    """Of the file's weights those that int8 packs: matrices of linear layers, which GPT-2's family does not use."""
    if _text(facts.config).get("model_type") == "gpt2":
        return 0
    matrices = (tensor for tensor in facts.tensors if len(tensor.shape) == 2 and not _embeds(tensor.name))
    return sum(tensor.elements for tensor in matrices)


def _head_elements(facts: Facts) -> int:
    """The last layer where it is the embedding used once more, and so is not in the file; int8 packs it too."""
    if any("lm_head" in tensor.name for tensor in facts.tensors):
        return 0
    text = _text(facts.config)
    return _first(text, "vocab_size") * _first(text, "hidden_size", "n_embd", "d_model")


def _embeds(name: str) -> bool:
    return any(part in name for part in ("embed", "wte", "wpe", "shared"))


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a composed model that writes text."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def _first(config: Mapping[str, Any], *names: str) -> int:
    """The first of these whole numbers that is there, else 0."""
    return next((value for name in names if isinstance(value := config.get(name), int) and value > 0), 0)
