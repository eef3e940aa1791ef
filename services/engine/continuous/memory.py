"""How many tokens the cache may come to hold: a share of the memory that is free once the model is loaded and warm."""

import torch

from services.engine.loading.machine import available_memory_bytes, mapped_bytes

_SHARE = 0.4
"""Of the free memory; other models start beside this one."""

_UNKNOWN = 2 * 1024**3
"""Bytes taken as free where that cannot be told."""


def cache_tokens(device: torch.device, bytes_per_token: int, *, rows: int, context: int | None) -> int:
    """Tokens in all; at least one row of the model's context is not promised. context: None has no limit."""
    affordable = int(_free_bytes(device) * _SHARE) // bytes_per_token
    return affordable if context is None else min(affordable, rows * context)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = available_memory_bytes()
    if available is None:
        return _UNKNOWN
    return max(0, available - mapped_bytes())  # mapped weights count as available, but must stay in memory
