"""Tiny models that static batches serve, also of architectures that no example names."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.services.conftest import Tiny
from tests.services.engine.continuous.networks import load_decoder
from tests.services.engine.loading.test_generators import load

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

DECODERS = ("gpt_neo", "codegen", "mistral", "bloom", "mamba", "phi3 with longrope", "qwen3-next", "rwkv")
SAME_LENGTH = ("phi3 with longrope",)
ALONE = ("rwkv",)
"""Those of them that padding changes, and that any neighbour does."""
ENCODER_DECODERS = ("blenderbot", "t5", "bart", "marian")


def load_any(tiny: Tiny, name: str) -> "LoadedModel":
    """A decoder by its name beside the tests of continuous batching, or one of the kinds below."""
    import torch

    if name == "blenderbot" or name not in {*ENCODER_DECODERS, "rwkv"}:
        return load_decoder(tiny, name)
    model = load(tiny, "gpt2" if name == "rwkv" else "blenderbot")
    torch.manual_seed(0)
    network = _make(name, model.network.config.vocab_size).eval()
    theirs = network.generation_config
    ours = model.network.generation_config
    theirs.eos_token_id, theirs.pad_token_id = ours.eos_token_id, ours.pad_token_id
    theirs.max_length = theirs.max_new_tokens = theirs.min_length = theirs.min_new_tokens = None
    return replace(model, network=network, model_type=network.config.model_type)


def _make(name: str, vocabulary: int) -> Any:
    import transformers as hf

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
        "vocab_size": vocabulary,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    match name:
        case "rwkv":
            return hf.RwkvForCausalLM(
                hf.RwkvConfig(vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, context_length=256)
            )
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
