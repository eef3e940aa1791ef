"""Loaded tiny models, also of architectures that no example names."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.models import ARCHITECTURES
from tests.services.conftest import Tiny
from tests.services.engine.test_loading import load

if TYPE_CHECKING:
    from services.engine.loading import LoadedModel

DECODERS = ("gpt2", "gpt_neo", "codegen", "mistral", "smollm3", "bloom", "mamba", "opt", "gemma2", "rwkv")
ENCODER_DECODERS = ("blenderbot", "t5", "bart", "marian")


def load_any(tiny: Tiny, name: str) -> "LoadedModel":
    """By its name in tests.models, or a random network of another kind behind the tokenizer of gpt2 or blenderbot."""
    import torch

    if name in ARCHITECTURES:
        return load(tiny, name)
    model = load(tiny, "blenderbot" if name in ENCODER_DECODERS else "gpt2")
    torch.manual_seed(0)
    network = _make(name, model.network.config.vocab_size).eval()
    theirs = network.generation_config
    ours = model.network.generation_config
    theirs.eos_token_id, theirs.pad_token_id = ours.eos_token_id, ours.pad_token_id
    theirs.max_length = theirs.max_new_tokens = theirs.min_length = theirs.min_new_tokens = None
    return replace(model, network=network, model_type=network.config.model_type)


def _make(name: str, vocabulary: int) -> Any:
    import transformers as hf

    ends: dict[str, Any] = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    small: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "initializer_range": 0.4,
    }
    pair: dict[str, Any] = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 128,
        "init_std": 0.4,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        **ends,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    match name:
        case "bloom":
            return hf.BloomForCausalLM(
                hf.BloomConfig(**ends, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.4)
            )
        case "mamba":
            return hf.MambaForCausalLM(
                hf.MambaConfig(**ends, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.4)
            )
        case "rwkv":
            return hf.RwkvForCausalLM(hf.RwkvConfig(**ends, hidden_size=32, num_hidden_layers=2, context_length=256))
        case "opt":
            return hf.OPTForCausalLM(
                hf.OPTConfig(
                    **ends,
                    hidden_size=32,
                    ffn_dim=64,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    max_position_embeddings=256,
                    word_embed_proj_dim=32,
                    init_std=0.4,
                )
            )
        case "gemma2":
            return hf.Gemma2ForCausalLM(hf.Gemma2Config(**ends, **small, sliding_window=8))
        case "t5":
            return hf.T5ForConditionalGeneration(
                hf.T5Config(
                    vocab_size=vocabulary,
                    d_model=32,
                    d_kv=8,
                    d_ff=64,
                    num_layers=2,
                    num_heads=4,
                    initializer_factor=3.0,
                    decoder_start_token_id=0,
                    eos_token_id=2,
                    pad_token_id=0,
                )
            )
        case "bart":
            return hf.BartForConditionalGeneration(hf.BartConfig(**pair))
        case "marian":
            return hf.MarianMTModel(hf.MarianConfig(**pair, static_position_embeddings=True))
    raise ValueError(name)
