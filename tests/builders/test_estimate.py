"""The arithmetic of memory, by hand."""

from typing import Any

import pytest

from builders.estimate import FRAMEWORK_BYTES, Facts, Tensor, memory_of, tokens_bytes

pytestmark = pytest.mark.unit

SMOLLM3 = {
    "model_type": "smollm3",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 65536,
    "vocab_size": 128256,
}
LLAMA = Facts(
    {**SMOLLM3, "vocab_size": 1000, "hidden_size": 100},
    [
        Tensor("model.embed_tokens.weight", "BF16", (1000, 100)),
        Tensor("model.layers.0.mlp.up_proj.weight", "BF16", (400, 100)),
        Tensor("model.norm.weight", "F32", (100,)),
    ],
)


def test_facts_name_the_type_of_most_weights() -> None:
    assert (LLAMA.parameters, LLAMA.stored, LLAMA.context) == (140_100, "bfloat16", 65536)
    assert Facts({}, []).stored == "float32"


@pytest.mark.parametrize(
    ("config", "tokens", "size"),
    [
        (SMOLLM3, 4096, 2 * 36 * 4 * 128 * 2 * 4096),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 1000, 2 * 12 * 768 * 2 * 1000),
        ({**SMOLLM3, "head_dim": 64}, 10, 2 * 36 * 4 * 64 * 2 * 10),
        ({**SMOLLM3, "sliding_window": 512}, 4096, 2 * 36 * 4 * 128 * 2 * 512),
        ({**SMOLLM3, "sliding_window": 512, "use_sliding_window": False}, 4096, 2 * 36 * 4 * 128 * 2 * 4096),
        (
            {**SMOLLM3, "sliding_window": 512, "layer_types": ["sliding_attention"] * 30 + ["full_attention"] * 6},
            4096,
            2 * 4 * 128 * 2 * (30 * 512 + 6 * 4096),
        ),
        ({"text_config": SMOLLM3}, 4096, 2 * 36 * 4 * 128 * 2 * 4096),
        ({"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24}, 4096, 0),
    ],
    ids=[
        "grouped heads",
        "names of GPT-2",
        "own head size",
        "window",
        "unused window",
        "mixed",
        "composed",
        "stateful",
    ],
)
def test_the_cache_is_counted_from_the_layers_that_keep_one(config: dict[str, Any], tokens: int, size: int) -> None:
    assert tokens_bytes(config, 2, tokens) == size


def test_weights_count_in_the_type_that_they_are_computed_in() -> None:
    as_stored = memory_of(LLAMA, dtype="bfloat16", quantization=None, tokens=0, on_processor=True)
    widened = memory_of(LLAMA, dtype="float32", quantization=None, tokens=0, on_processor=True)
    assert (as_stored.weights, widened.weights) == (280_200, 560_400)
    assert as_stored.least == FRAMEWORK_BYTES + 280_200


def test_int8_packs_matrices_and_the_tied_head() -> None:
    packed = memory_of(LLAMA, dtype="float32", quantization="int8", tokens=0, on_processor=True)
    assert packed.weights == 560_400 - 40_000 * 4 + 140_000
    assert packed.least == FRAMEWORK_BYTES + packed.weights


def test_a_longer_conversation_takes_more() -> None:
    def total(tokens: int) -> int:
        return memory_of(LLAMA, dtype="bfloat16", quantization=None, tokens=tokens, on_processor=True).total

    assert total(10) < total(100) < total(10_000)
