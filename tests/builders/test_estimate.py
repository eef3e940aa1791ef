"""The arithmetic of memory, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from builders.estimate import FRAMEWORK_BYTES, Facts, Memory, Tensor, memory_of, token_bytes
from services.engine.loading.machine import Processor

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
SLOW, FAST = Processor(fast_bfloat16=False, available_bytes=None), Processor(fast_bfloat16=True, available_bytes=None)
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
    ("config", "size"),
    [
        (SMOLLM3, 2 * 36 * 4 * 128 * 2),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2 * 12 * 768 * 2),
        ({**SMOLLM3, "head_dim": 64}, 2 * 36 * 4 * 64 * 2),
        ({**SMOLLM3, "sliding_window": 512}, 2 * 36 * 4 * 128 * 2),
        ({"text_config": SMOLLM3}, 2 * 36 * 4 * 128 * 2),
        ({"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24}, 0),
    ],
    ids=["grouped heads", "names of GPT-2", "own head size", "window", "composed", "stateful"],
)
def test_keys_and_values_are_counted_from_the_heads_that_have_them(config: dict[str, Any], size: int) -> None:
    assert token_bytes(config, 2) == size


def test_weights_count_in_the_type_that_they_are_computed_in() -> None:
    as_stored = memory_of(LLAMA, dtype="bfloat16", quantization=None, longest=0, processor=SLOW)
    widened = memory_of(LLAMA, dtype="float32", quantization=None, longest=0, processor=None)
    assert (as_stored.weights, widened.weights) == (280_200, 560_400)
    assert as_stored.loaded == FRAMEWORK_BYTES + 280_200


HEAD = Tensor("lm_head.weight", "BF16", (1000, 100))
SMALL = Processor(fast_bfloat16=True, available_bytes=FRAMEWORK_BYTES + 2 * 480_200 - 1)


@pytest.mark.parametrize(
    ("facts", "dtype", "processor", "copies"),
    [
        (LLAMA, "float32", SLOW, 2),
        (LLAMA, "bfloat16", FAST, 2),
        (LLAMA, "bfloat16", SLOW, 1),
        (LLAMA, "float16", FAST, 1),
        (LLAMA, "bfloat16", None, 1),
        (LLAMA, "bfloat16", SMALL, 1),
        (LLAMA, "bfloat16", replace(SMALL, available_bytes=FRAMEWORK_BYTES + 2 * 480_200), 2),
        (LLAMA, "float32", replace(SMALL, available_bytes=FRAMEWORK_BYTES + 2 * 960_400 + 560_399), 1),
        (LLAMA, "float32", replace(SMALL, available_bytes=FRAMEWORK_BYTES + 2 * 960_400 + 560_400), 2),
        (replace(LLAMA, config={**LLAMA.config, "is_encoder_decoder": True}), "float32", FAST, 1),
        (replace(LLAMA, tensors=[*LLAMA.tensors, HEAD]), "bfloat16", FAST, 2),
        (replace(LLAMA, tensors=[*LLAMA.tensors, replace(HEAD, name="embed_out.weight")]), "bfloat16", FAST, 2),
    ],
)
def test_a_tied_head_is_in_memory_twice_where_the_processor_packs_it(
    facts: Facts, dtype: str, processor: Processor | None, copies: int
) -> None:
    memory = memory_of(facts, dtype=dtype, quantization=None, longest=0, processor=processor)
    assert memory.weights == (40_100 + copies * 100_000) * (4 if dtype == "float32" else 2)


def test_int8_packs_matrices_and_the_tied_head() -> None:
    packed = memory_of(LLAMA, dtype="float32", quantization="int8", longest=0, processor=SLOW)
    assert packed.weights == 560_400 - 40_000 * 4 + 140_000
    assert packed.loaded == FRAMEWORK_BYTES + packed.weights


def bare(*, longest: int = 1000, **how: Any) -> Memory:
    return memory_of(LLAMA, dtype="bfloat16", quantization=None, longest=longest, **{"processor": SLOW, **how})


TOKEN = 2 * 36 * 4 * (100 // 16) * 2
"""Bytes of one token of LLAMA."""


def test_the_cache_has_its_share_of_what_is_free_and_beginnings_a_quarter_of_it() -> None:
    memory = bare().with_cache(10_000 * TOKEN)
    assert (memory.tokens, memory.cache) == (4000, 5000 * TOKEN)
    assert memory.total == memory.loaded + memory.working + 5000 * TOKEN
    on_gpu = bare(processor=None).with_cache(10_000 * TOKEN)
    assert (on_gpu.tokens, on_gpu.cache) == (4000, 4000 * TOKEN)


def test_the_cache_is_no_larger_than_all_rows_can_fill() -> None:
    assert [bare(rows=rows).with_cache(10**12).tokens for rows in (0, 1, 3)] == [32 * 65536, 65536, 3 * 65536]
    assert bare().with_cache(None).tokens == int(2 * 1024**3 * 0.4) // TOKEN


def test_a_longest_request_that_the_cache_cannot_hold_needs_more_memory() -> None:
    memory = bare(longest=5000).with_cache(10_000 * TOKEN)
    assert memory.total == memory.loaded + memory.working + 12_500 * TOKEN


def test_a_decoder_needs_room_for_the_fewest_tokens_that_the_engine_starts_with() -> None:
    short = replace(LLAMA, config={**LLAMA.config, "max_position_embeddings": 16})
    for facts, fewest in ((LLAMA, 64), (short, 16)):
        memory = memory_of(facts, dtype="bfloat16", quantization=None, longest=8, processor=SLOW)
        free = memory.least - memory.loaded
        assert free == fewest * TOKEN / 0.4
        assert [memory.with_cache(each).tokens for each in (free, free - 1)] == [fewest, fewest - 1]


def test_an_encoder_decoder_keeps_no_beginnings_of_prompts_and_starts_with_any_room() -> None:
    facts = replace(LLAMA, config={**LLAMA.config, "is_encoder_decoder": True})
    wanted = bare(network="sequence-to-sequence")
    found = memory_of(facts, dtype="bfloat16", quantization=None, longest=1000, processor=SLOW)
    for memory in (wanted, found):
        assert memory.with_cache(10_000 * TOKEN).cache == 4000 * TOKEN
        assert memory.least == memory.loaded


def test_a_model_that_only_reads_has_no_cache() -> None:
    memory = bare(network="embedding").with_cache(10**9)
    assert (memory.tokens, memory.total) == (0, memory.least + memory.working)
