"""Tiny models that static batches serve, also of architectures that no example names."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tests.services.conftest import Tiny
from tests.services.engine.continuous.networks import load_decoder
from tests.services.engine.loading.test_generators import load

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel
    from tests.rewriters import Rewriter

DECODERS = ("gpt_neo", "codegen", "mistral", "bloom", "mamba", "phi3 with longrope", "qwen3-next", "rwkv")
SAME_LENGTH = ("phi3 with longrope",)
ALONE = ("rwkv",)
"""Those of them that padding changes, and that any neighbour does."""
ENCODER_DECODERS = ("blenderbot", "t5", "bart", "marian")


def load_any(tiny: Tiny, name: str) -> "LoadedModel":
    """A decoder by its name beside the tests of continuous batching, one of tests.rewriters, or one below."""
    from tests.rewriters import make_network

    if name == "blenderbot" or name not in {*ENCODER_DECODERS, "rwkv"}:
        return load_decoder(tiny, name)
    model = load(tiny, "gpt2" if name == "rwkv" else "blenderbot")
    vocabulary = model.network.config.vocab_size
    network = (_make_rwkv(vocabulary) if name == "rwkv" else make_network(cast("Rewriter", name), vocabulary)).eval()
    theirs = network.generation_config
    ours = model.network.generation_config
    theirs.eos_token_id, theirs.pad_token_id = ours.eos_token_id, ours.pad_token_id
    theirs.max_length = theirs.max_new_tokens = theirs.min_length = theirs.min_new_tokens = None
    return replace(model, network=network, model_type=network.config.model_type)


def _make_rwkv(vocabulary: int) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    return transformers.RwkvForCausalLM(
        transformers.RwkvConfig(vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, context_length=256)
    )
