"""Sums of table rows say what torch's attention says."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from services.engine.loading.one_token import PAGE, attend_one, fits, tell_lengths

pytestmark = pytest.mark.unit

SCALE = 0.3


def keys(
    rows: int, heads: int, tokens: int, size: int, *, room: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """As the cache lays them out: [rows, heads, tokens, size] with tokens side by side, and room for more."""
    return torch.randn(rows, heads, size, room).to(dtype).transpose(2, 3)[:, :, :tokens]


def values(
    rows: int, heads: int, tokens: int, size: int, *, room: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return torch.randn(rows, heads, room, size).to(dtype)[:, :, :tokens]


def hidden(lengths: tuple[int, ...]) -> torch.Tensor:
    """[rows, 1, 1, tokens]: True for what a row does not have."""
    return (torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None])[:, None, None]


@pytest.mark.parametrize(
    ("heads", "shared", "size", "value_size", "lengths", "room"),
    [
        (4, 2, 8, 8, (17, 3, 1), 37),
        (4, 4, 8, 6, (130, 129, 128, 127), 200),
        (6, 1, 16, 16, (PAGE, 5), PAGE),
        (4, 4, 3, 8, (300,), 310),
    ],
    ids=["shared-heads", "values-of-another-size", "a-whole-page", "one-row"],
)
@pytest.mark.parametrize("kind", ["added", "added-and-told", "seen"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_torchs_attention(
    heads: int,
    shared: int,
    size: int,
    value_size: int,
    lengths: tuple[int, ...],
    room: int,
    kind: str,
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(0)
    rows, tokens = len(lengths), max(lengths)
    query = torch.randn(rows, heads, 1, size).to(dtype)
    key = keys(rows, shared, tokens, size, room=-(-room // PAGE) * PAGE, dtype=dtype)
    value = values(rows, shared, tokens, value_size, room=room, dtype=dtype)
    mask = ~hidden(lengths)
    if kind != "seen":
        mask = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    if kind == "added-and-told":
        tell_lengths(mask, lengths)

    assert fits(query, key, value)
    actual = attend_one(query, key, value, mask, SCALE)

    group = heads // shared
    wide_key, wide_value = (each.float().repeat_interleave(group, 1) for each in (key, value))
    expected = scaled_dot_product_attention(
        query.float(), wide_key, wide_value, attn_mask=~hidden(lengths), scale=SCALE
    )
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(actual.float(), expected.transpose(1, 2), atol=tolerance, rtol=tolerance)


def test_without_a_mask_every_row_has_all_tokens() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 1, 8), keys(2, 4, 9, 8, room=PAGE), values(2, 4, 9, 8, room=20)
    expected = scaled_dot_product_attention(query, key, value, scale=SCALE).transpose(1, 2)
    torch.testing.assert_close(attend_one(query, key, value, None, SCALE), expected)


def test_values_and_whole_pages_of_keys_that_a_row_does_not_have_are_never_read() -> None:
    lengths = (PAGE + 3, 2)
    query, key = torch.randn(2, 4, 1, 8), keys(2, 4, PAGE + 3, 8, room=2 * PAGE)
    value = values(2, 4, PAGE + 3, 8, room=2 * PAGE)
    value[1, :, 2:] = torch.nan
    key[1, :, PAGE:] = torch.nan
    mask = torch.zeros(2, 1, 1, PAGE + 3).masked_fill(hidden(lengths), torch.finfo(torch.float32).min)
    tell_lengths(mask, lengths)
    assert attend_one(query, key, value, mask, SCALE).isfinite().all()


def test_other_layouts_and_several_queries_do_not_fit() -> None:
    query, key, value = torch.randn(2, 4, 1, 8), keys(2, 4, 9, 8, room=PAGE), values(2, 4, 9, 8, room=20)
    assert fits(query, key, value)
    assert not fits(query.expand(2, 4, 3, 8), key, value)
    assert not fits(query, key.contiguous(), value)
    assert not fits(query, key, value.transpose(2, 3).contiguous().transpose(2, 3))
    assert not fits(query, keys(2, 4, 9, 8, room=40), value)


def test_a_type_in_which_scores_overflow_does_not_fit() -> None:
    layout = {"dtype": torch.float16}
    query = torch.randn(2, 4, 1, 8).half()
    assert not fits(query, keys(2, 4, 9, 8, room=PAGE, **layout), values(2, 4, 9, 8, room=20, **layout))
