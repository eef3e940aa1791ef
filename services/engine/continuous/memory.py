"""How much the cache may come to hold: a share of the memory that is free once the model is loaded and warm.

torch is imported for a GPU only: `plan` foretells with the same arithmetic what an engine will take.
"""

from typing import TYPE_CHECKING

from services.engine.failure import NO_MEMORY, LoadError
from services.engine.loading.machine import available_memory_bytes, mapped_bytes

if TYPE_CHECKING:
    import torch

ROWS = 32
"""Sequences in the batch where the file does not say."""

SHARE = 0.4
"""Of the free memory that the cache of the rows may have; other models start beside this one."""

PREFIX_PART = 4
"""What prompts begin with may have this part of the rows' cache, besides."""

FEWEST = 64
"""Tokens; a cache that holds fewer serves nobody."""

_UNKNOWN = 2 * 1024**3
"""Bytes taken as free where that cannot be told."""


def cache_tokens(device: "torch.device", bytes_per_token: int, *, rows: int, context: int | None) -> int:
    """Tokens in all, of rows x the longest of them; raises LoadError when they are too few to serve anybody."""
    tokens = affordable_tokens(device, bytes_per_token, rows=rows, context=context)
    if tokens < min(FEWEST, context or FEWEST):
        raise LoadError(
            f"the model leaves too little memory to compute with it: room for {tokens} tokens of"
            f" {bytes_per_token / 1000:.1f} kB each; end other programs, or use a smaller model",
            NO_MEMORY,
        )
    return tokens


def affordable_tokens(device: "torch.device", bytes_per_token: int, *, rows: int, context: int | None) -> int:
    """The same, however few that may be."""
    return bounded_tokens(_free_bytes(device), bytes_per_token, rows=rows, context=context)


def bounded_tokens(free: int | None, bytes_per_token: int, *, rows: int, context: int | None) -> int:
    """Tokens for which so many free bytes are enough; they may be fewer than one row of the model's context.

    free: None when that cannot be told. context: None has no limit.
    """
    affordable = int((_UNKNOWN if free is None else free) * SHARE) // bytes_per_token
    return affordable if context is None else min(affordable, rows * context)


def _free_bytes(device: "torch.device") -> int | None:
    """Memory of the device that can be had beside a model that is loaded; None when that cannot be told."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    available = available_memory_bytes()
    if available is None:
        return None
    return max(0, available - mapped_bytes())  # mapped weights count as available, but must stay in memory
