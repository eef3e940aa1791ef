"""Our attention for one new token says what transformers' own says."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from services.engine.loading.attention import attend

pytestmark = pytest.mark.unit

ROWS, HEADS, LENGTH, SIZE = 3, 4, 17, 8


def states(tokens: int, *, heads: int = HEADS, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(ROWS, tokens, heads, SIZE, dtype=dtype).transpose(1, 2)


def hidden() -> torch.Tensor:
    """The first row sees all, the others less: [rows, 1, 1, length], True for what is hidden."""
    return (torch.arange(LENGTH) >= torch.tensor([[LENGTH], [9], [1]]))[:, None, None]


def added(dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(ROWS, 1, 1, LENGTH, dtype=dtype).masked_fill(hidden(), torch.finfo(dtype).min)


@pytest.mark.parametrize("mask", [None, ~hidden(), added(torch.bfloat16)], ids=["none", "seen", "added"])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_one_query_in_bfloat16(mask: torch.Tensor | None, scaling: float | None) -> None:
    torch.manual_seed(0)
    layer: Any = SimpleNamespace(is_causal=True, num_key_value_groups=1)
    query, key, value = states(1), states(LENGTH), states(LENGTH)

    actual, weights = attend(layer, query, key, value, mask, scaling=scaling, dropout=0.0)

    expected, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=scaling)
    assert actual.shape == expected.shape
    assert weights is None
    torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("dtype", "tokens", "keys"),
    [(torch.float32, 1, HEADS), (torch.bfloat16, LENGTH, HEADS), (torch.bfloat16, 1, HEADS // 2)],
    ids=["float32", "several-queries", "shared-keys"],
)
def test_everything_else_is_left_to_transformers(dtype: torch.dtype, tokens: int, keys: int) -> None:
    torch.manual_seed(0)
    layer: Any = SimpleNamespace(is_causal=True, num_key_value_groups=HEADS // keys)
    query = states(tokens, dtype=dtype)
    key, value = states(LENGTH, heads=keys, dtype=dtype), states(LENGTH, heads=keys, dtype=dtype)

    actual, _ = attend(layer, query, key, value, None, scaling=None, dropout=0.0)

    assert torch.equal(actual, sdpa_attention_forward(layer, query, key, value, None)[0])


def test_keys_with_a_bias_keep_torchs_precision_in_bfloat16() -> None:
    torch.manual_seed(0)
    layer: Any = SimpleNamespace(is_causal=True, num_key_value_groups=1, k_proj=torch.nn.Linear(1, 1))
    query = states(1) + 5
    key = (states(LENGTH) + 20).transpose(2, 3).contiguous().transpose(2, 3)
    value = states(LENGTH)

    actual, _ = attend(layer, query, key, value, None, scaling=None, dropout=0.0)

    exact = sdpa_attention_forward(layer, query.float(), key.float().contiguous(), value.float(), None)[0]
    torch.testing.assert_close(actual.float(), exact, atol=0.01, rtol=0.01)


def test_networks_find_it_under_the_name_of_torchs_kernel() -> None:
    from services.engine.loading.attention import register_attention

    before = AttentionInterface()["sdpa"]
    try:
        register_attention()
        assert AttentionInterface()["sdpa"] is attend
    finally:
        AttentionInterface.register("sdpa", before)
