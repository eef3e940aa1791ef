"""Tiny decoders of many architectures, and how each of them runs."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.models import ARCHITECTURES
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

CONTINUOUS = (
    "llama",
    "mistral",
    "smollm3",
    "gpt2",
    "codegen",
    "qwen2",
    "qwen2 with a window",
    "qwen3",
    "phi3",
    "stablelm",
    "granite",
    "cohere",
    "olmo2",
    "gemma2",
    "gemma3",
    "gpt-oss",
    "gpt-neox",
    "falcon",
    "opt",
)

BATCHES = {
    "bloom": "its forward does not take rows of different lengths (ValueError)",
    "gpt_neo": "its rows do not stay apart in a batch",
    "mamba": "it keeps a state instead of keys and values",
    "phi3 with longrope": "its position embeddings depend on the longest row",
    "qwen3-next": "it keeps a state instead of keys and values",
}
"""And why."""

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}

_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 64,
}

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", {}),
    "qwen2 with a window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {}),
    "phi3": ("Phi3", {}),
    "phi3 with longrope": ("Phi3", {"rope_parameters": _LONGROPE, "original_max_position_embeddings": 64}),
    "stablelm": ("StableLm", {}),
    "granite": ("Granite", {}),
    "cohere": ("Cohere", {}),
    "olmo2": ("Olmo2", {}),
    "gemma2": ("Gemma2", {"sliding_window": 16}),
    "gpt-oss": ("GptOss", {"sliding_window": 16, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt-neox": ("GPTNeoX", {}),
    "opt": ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.4}),
    "bloom": ("Bloom", {"n_layer": 2, "n_head": 4}),
    "mamba": ("Mamba", {"state_size": 4}),
    "qwen3-next": (
        "Qwen3Next",
        {
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
}
"""The prefix of transformers' class names, and what its configuration has beside the sizes."""


def load_decoder(tiny: Tiny, name: str) -> "LoadedModel":
    """By its name in tests.models, or a random network of another kind behind the tokenizer of gpt2."""
    import torch

    if name in ARCHITECTURES:
        return load(tiny, name)
    model = load(tiny, "gpt2")
    ours = model.network.generation_config
    torch.manual_seed(0)
    network = _make(name, model.network.config.vocab_size).eval()
    theirs = network.generation_config
    theirs.eos_token_id, theirs.pad_token_id = ours.eos_token_id, ours.pad_token_id
    return replace(model, network=network, model_type=network.config.model_type)


def _make(name: str, vocabulary: int) -> Any:
    import transformers

    ends = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if name == "falcon":
        config = transformers.FalconConfig(
            **ends, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=False, initializer_range=0.4
        )
        return transformers.FalconForCausalLM(config)
    if name == "gemma3":
        kinds = ["sliding_attention", "full_attention"]
        config = transformers.Gemma3TextConfig(**_SMALL, **ends, sliding_window=16, layer_types=kinds)
        return transformers.Gemma3ForCausalLM(config)
    prefix, more = _KINDS[name]
    config = getattr(transformers, f"{prefix}Config")(**_SMALL, **ends, **more)
    return getattr(transformers, f"{prefix}ForCausalLM")(config)
