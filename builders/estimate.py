"""How much memory serving a model takes, from what its headers and config.json say. Pure.

The constants were measured with `python -m benchmarks.memory`, which also tells how far the estimate is off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any, Final

from services.catalog import Network
from services.engine.continuous.memory import FEWEST, PREFIX_PART, ROWS, SHARE, bounded_tokens
from services.engine.loading.machine import Processor
from services.engine.loading.precision import BYTES, PACKED_BYTES, PACKING_SHARE

FRAMEWORK_BYTES: Final = 210_000_000
"""What Python, torch and transformers hold in a process that serves the smallest model."""
SHARED_BYTES: Final = 115_000_000
"""Their code in memory, which all tasks of a machine share."""
GPU_CONTEXT_BYTES: Final = 600_000_000
"""What CUDA's own context and libraries take of a GPU's memory; taken from reports, for want of one to measure on."""

_PROMPT_CHUNK: Final = 1024
"""Tokens of a prompt that the engine reads at once."""
_HEADS: Final = ("lm_head", "embed_out")
"""What decoders call their last layer."""
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

    weights: in the type it computes in. working: what reading a chunk of a prompt takes. framework: of the process.
    cache: what the engine lets the keys and values of `tokens` tokens take at most, and beginnings of prompts besides.

    token: keys and values of one token; 0 for a model that keeps none. longest: tokens of the longest request.
    rows: sequences computed together at most. context: tokens that one of them may have, None: any number.
    fewest: tokens for which the cache must have room, or the engine does not start.
    prefixes: whether beginnings of prompts are kept.
    """

    weights: int
    working: int
    framework: int
    token: int
    longest: int
    rows: int
    context: int | None
    fewest: int
    prefixes: bool
    cache: int = 0
    tokens: int = 0

    @property
    def loaded(self) -> int:
        """Before the first request."""
        return self.framework + self.weights

    @property
    def least(self) -> int:
        """Without this nothing works: the model loads and answers something short."""
        return self.loaded + self._free_for(self.fewest)

    @property
    def lengthy(self) -> int:
        """With room for the longest request."""
        return self.loaded + self.working + self._free_for(max(self.fewest, self.longest))

    @property
    def total(self) -> int:
        """With a full cache, which must hold the longest request."""
        held = not self.token or self.longest <= self.tokens
        return self.loaded + self.working + self.cache if held else self.lengthy

    def with_cache(self, free: int | None) -> "Memory":
        """As the engine will take it that finds so many bytes free with the model loaded; None: nobody can tell."""
        if not self.token:
            return self
        tokens = bounded_tokens(free, self.token, rows=self.rows, context=self.context)
        cache = tokens * self.token
        return replace(self, tokens=tokens, cache=cache + (cache // PREFIX_PART if self.prefixes else 0))

    def _free_for(self, tokens: int) -> int:
        """Bytes that must be free so that a cache of so many tokens is a share of them."""
        return ceil(tokens * self.token / SHARE)


def memory_of(
    facts: Facts,
    *,
    dtype: str,
    quantization: str | None,
    longest: int,
    processor: Processor | None,
    rows: int = 0,
    network: Network = "text",
) -> Memory:
    """What one process with this model takes, before it has a cache.

    dtype: the type it computes in, in torch's words. processor: None on a GPU. rows: 0 for the engine's own number.
    network: what the task needs; one that answers with text takes a cache.
    """
    size = BYTES[dtype]
    decoder = network == "text" and not facts.config.get("is_encoder_decoder")
    whole = facts.parameters * size
    weights = whole
    if quantization == "int8":
        linear = _linear_elements(facts)
        kept = whole if facts.stored == dtype else whole - linear * size  # a file stays mapped as a whole
        weights = kept + (linear + _head_elements(facts)) * PACKED_BYTES
    elif decoder and processor is not None and _is_packed(facts, dtype, processor):
        weights = whole + _head_elements(facts) * size
    return Memory(
        weights=weights,
        working=_working_bytes(facts, size, longest),
        framework=FRAMEWORK_BYTES if processor is not None else GPU_CONTEXT_BYTES,
        token=token_bytes(facts.config, size) if network in ("text", "sequence-to-sequence") else 0,
        longest=longest,
        rows=rows or ROWS,
        context=facts.context,
        fewest=min(FEWEST, facts.context or FEWEST) if decoder else 0,
        prefixes=decoder and processor is not None,
    )


def token_bytes(config: Mapping[str, Any], size: int) -> int:
    """What the keys and values of one token take, in layers with a window too; 0 for a model that keeps none."""
    text = _text(config)
    layers = _first(text, "num_hidden_layers", "n_layer", "num_layers", "decoder_layers")
    heads = _first(text, "num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    width = _first(text, "hidden_size", "n_embd", "d_model")
    if not (layers and heads and width):
        return 0
    head = _first(text, "head_dim") or width // heads
    return 2 * layers * (_first(text, "num_key_value_heads") or heads) * head * size


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


def _is_packed(facts: Facts, dtype: str, processor: Processor) -> bool:
    """Whether the engine lays a decoder's weights out for this processor; a tied head then is beside the embedding."""
    if dtype != "float32" and not (dtype == "bfloat16" and processor.fast_bfloat16):
        return False
    if processor.available_bytes is None:
        return True
    widened = 0 if facts.stored == dtype else facts.parameters * BYTES[dtype]  # as stored, they are mapped only
    free = processor.available_bytes - FRAMEWORK_BYTES - widened
    return (facts.parameters + _head_elements(facts)) * BYTES[dtype] <= free * PACKING_SHARE


def _head_elements(facts: Facts) -> int:
    """The last layer where it is the embedding used once more, and so is not in the file; packing copies it."""
    if any(name in tensor.name for tensor in facts.tensors for name in _HEADS):
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
