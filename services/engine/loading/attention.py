"""Attention of one new token in bfloat16, where torch's own kernel for processors takes twice as long as two products.

Import it in the engine's thread only.
"""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward


def register_attention() -> None:
    """Take the place of what transformers calls "sdpa", for all networks of this process."""
    AttentionInterface.register("sdpa", attend)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: [rows, heads, tokens, size of a head] three times -> [rows, tokens, heads, size].

    attention_mask: what is added, or what is seen (True); it broadcasts to [rows, heads, queries, keys].
    """
    special = options.get("position_bias") is not None or options.get("cache") is not None
    if special or options.get("dropout") or not _is_slow_in_torch(query, key):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return result
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # A query is a column here: products with a single row are slower.
    scores = torch.matmul(key, query.transpose(2, 3)).transpose(2, 3).float().mul_(scale)
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
        else:
            scores.add_(attention_mask)
    return torch.matmul(scores.softmax(-1).to(value.dtype), value).transpose(1, 2), None


def _is_slow_in_torch(query: torch.Tensor, key: torch.Tensor) -> bool:
    """One query a head: where several heads share keys, torch's kernel has as many queries for them."""
    return (
        query.shape[2] == 1
        and query.shape[1] == key.shape[1]
        and query.dtype == torch.bfloat16
        and query.device.type == "cpu"
    )
