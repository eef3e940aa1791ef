"""Attention of one new token a row on a processor, as weighted sums of the rows of tables.

torch's attention multiplies matrices. With one query that takes twice to four times as long as to read keys and values
once: both products are then sums of table rows by weights, which `embedding_bag` adds as fast as memory gives them. The
table of keys has a row for each number of a head, with tokens side by side in pages; that of values has a row a token.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch

_TYPES = (torch.float32, torch.bfloat16)
"""Sums have the type of their table: in float16 scores would overflow before they are scaled."""

PAGE = 128
"""Tokens in one row of the table of keys: what a row does not have is read in multiples of it."""


def fits(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether there is one query a row, and keys and values lie as the tables need it, so that nothing is copied.

    Shapes as in `attend_one`; the strides are those of keys [rows, heads, size, whole pages of tokens] and of values
    [rows, heads, tokens, size], where there may be more tokens than are seen.
    """
    if query.shape[2] != 1 or query.device.type != "cpu" or query.dtype not in _TYPES:
        return False
    (_, heads, _, size), value_size = key.shape, value.shape[3]
    paged, capacity = key.stride(3), value.stride(1) // value_size
    return (
        paged % PAGE == 0
        and key.stride() == (heads * size * paged, size * paged, 1, paged)
        and value.stride() == (heads * capacity * value_size, capacity * value_size, value_size, 1)
    )


def attend_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """[rows, heads, 1, size] over keys and values [rows, shared heads, tokens, size] -> [rows, 1, heads, size].

    mask: what is added, or what is seen (True); it broadcasts to [rows, heads, 1, tokens].
    """
    rows, heads, _, size = query.shape
    shared, tokens, value_size = key.shape[1], key.shape[2], value.shape[3]
    room = key.stride(3) // PAGE, value.stride(1) // value_size
    places = _places(heads, shared, size, room, getattr(mask, "lengths", (tokens,) * rows), tokens)
    pages = -(-tokens // PAGE)
    weights = query.expand(rows, heads, pages, size).reshape(-1)
    table = key.as_strided((rows * shared * size * room[0], PAGE), (PAGE, 1))
    scores = _sum(table, places.keys, places.key_bags, weights).view(rows, heads, 1, pages * PAGE)[..., :tokens].float()
    if mask is None:
        scores = scores * scale
    elif mask.dtype == torch.bool:
        scores = (scores * scale).masked_fill_(~mask, torch.finfo(scores.dtype).min)
    else:
        scores = torch.add(mask, scores, alpha=scale)
    table = value.as_strided((rows * shared * room[1], value_size), (value_size, 1))
    weights = scores.softmax(-1).to(value.dtype).view(-1)
    return _sum(table, places.values, places.value_bags, weights).view(rows, 1, heads, value_size)


def tell_lengths(mask: Any, lengths: tuple[int, ...]) -> None:
    """Let what lies beyond a row's length be skipped, keys in whole pages; networks hand on a mask and no word beside.

    What is in a row's last page of keys behind its length must be finite: a mask hides it, but it is read.
    """
    mask.lengths = lengths


def _sum(table: torch.Tensor, places: torch.Tensor, bags: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The table's rows at `places` times their weights; a new sum begins at each of `bags`."""
    scale_by_frequency, mode, sparse = False, 0, False
    forward = torch.ops.aten._embedding_bag_forward_only.default
    summed: torch.Tensor = forward(table, places, bags, scale_by_frequency, mode, sparse, weights)[0]
    return summed


class _Places(NamedTuple):
    """Rows of both tables in the order of the sums, and where each sum begins."""

    keys: torch.Tensor
    key_bags: torch.Tensor
    values: torch.Tensor
    value_bags: torch.Tensor


@lru_cache(maxsize=2)  # all layers of a step ask for the same
def _places(
    heads: int, shared: int, size: int, room: tuple[int, int], lengths: tuple[int, ...], tokens: int
) -> _Places:
    """What a row does not have is replaced by its first page, or token, which was read just before.

    room: pages of keys, and values, that a head of a row has room for.
    """
    rows, pages = len(lengths), -(-tokens // PAGE)
    length = torch.tensor(lengths)[:, None, None]
    head = torch.arange(heads) // (heads // shared)
    first = torch.arange(rows)[:, None] * shared + head  # [rows, heads]: the number of a row's shared head
    page, token = torch.arange(pages), torch.arange(tokens)
    page_or_first = page * (page * PAGE < length)  # [rows, 1, pages]
    number = (first[:, :, None, None] * size + torch.arange(size)) * room[0] + page_or_first[..., None]
    token_or_first = token * (token < length)  # [rows, 1, tokens]
    return _Places(
        number.flatten().int(),
        torch.arange(rows * heads * pages, dtype=torch.int32) * size,
        (first[:, :, None] * room[1] + token_or_first).flatten().int(),
        torch.arange(rows * heads, dtype=torch.int32) * tokens,
    )
