"""Attention of one new token, for which torch's own kernel for processors takes longer than it must.

Import it in the engine's thread only.
"""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from services.engine.loading.one_token import attend_one, fits

_SPECIAL = ("position_bias", "cache", "softcap")
"""Options that only transformers' own function knows, or refuses."""


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
    special = any(options.get(name) is not None for name in _SPECIAL)
    if not special and not options.get("dropout") and not options.get("output_attentions"):
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        rounds = query.dtype != torch.float32 and _has_key_bias(module)
        if not rounds and fits(query, key, value):
            return attend_one(query, key, value, attention_mask, scale), None
        if not rounds and _is_slow_in_torch(query, key):
            return _two_products(query, key, value, attention_mask, scale), None
    result: tuple[torch.Tensor, None] = sdpa_attention_forward(
        module, query, _side_by_side(key), value, attention_mask, scaling=scaling, **options
    )
    return result


def _has_key_bias(module: torch.nn.Module) -> bool:
    """Keys that have much in common give large scores that differ by little: rounded before the softmax, it is lost.

    torch's own kernel does not round there; the ways here do, as transformers' plain attention does.
    """
    return getattr(getattr(module, "k_proj", None), "bias", None) is not None


def _is_slow_in_torch(query: torch.Tensor, key: torch.Tensor) -> bool:
    """One query a head: where several heads share keys, torch's kernel has as many queries for them."""
    return (
        query.shape[2] == 1
        and query.shape[1] == key.shape[1]
        and query.dtype == torch.bfloat16
        and query.device.type == "cpu"
    )


def _two_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    # A query is a column here: products with a single row are slower.
    scores = torch.matmul(key, query.transpose(2, 3)).transpose(2, 3).float().mul_(scale)
    if mask is not None:
        if mask.dtype == torch.bool:
            scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
        else:
            scores.add_(mask)
    return torch.matmul(scores.softmax(-1).to(value.dtype), value).transpose(1, 2)


def _side_by_side(key: torch.Tensor) -> torch.Tensor:
    """torch's fast kernel wants the numbers of one token next to each other."""
    return key if key.stride(3) == 1 else key.contiguous()
