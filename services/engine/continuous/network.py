"""Drives the forward of any decoder of transformers over rows of different lengths: positions, masks, last logits."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import get_layer_types_and_kwargs

from services.engine.continuous.cache import SlotCache
from services.engine.loading.one_token import tell_lengths

_KINDS = {"full_attention", "sliding_attention"}


class UnfitError(Exception):
    """Why a network cannot be driven this way, as a clause."""


class Network:
    """A decoder and the cache of its rows.

    Raises UnfitError for a network whose layers do not keep keys and values of every token, or whose rows would have
    to do with each other.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.cache = SlotCache()
        self._config = network.config.get_text_config(decoder=True)
        if getattr(network, "_is_stateful", False):  # transformers' word for models like Mamba
            raise UnfitError("it keeps a state instead of keys and values")
        types, _ = get_layer_types_and_kwargs(self._config)
        unknown = set(types) - _KINDS
        if unknown:
            raise UnfitError(f"it has layers of the kind {min(unknown)}")
        if scales_with_longest(self._config):
            raise UnfitError("its position embeddings depend on the longest row")
        self._kinds: list[str] = sorted(set(types))
        self._head: torch.nn.Module = network.get_output_embeddings()
        if self._head is None:
            raise UnfitError("it has no head that gives logits")

    def read(self, tokens: Sequence[Sequence[int]], slots: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
        """Read `tokens[i]`, the next ones of the row in `slots[i]`, which has `starts[i]` already.

        Returns the logits behind each row's last token, [rows, vocabulary].
        """
        counts = [len(row) for row in tokens]
        width = max(counts)
        padded = [[*row, *[row[-1]] * (width - len(row))] for row in tokens]
        rows, last = torch.arange(len(counts)), torch.tensor(counts) - 1

        def keep_last(_head: torch.nn.Module, hidden: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (hidden[0][rows, last][:, None],)

        with self._head.register_forward_pre_hook(keep_last):  # the head is most of a small model
            return self._forward(padded, slots, starts, counts)

    def advance(self, tokens: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        """Feed one token to each row of the first slots, which have `lengths`; returns logits as `read` does."""
        return self._forward([[token] for token in tokens], range(len(tokens)), lengths, [1] * len(tokens))

    @torch.inference_mode()
    def _forward(
        self, tokens: list[list[int]], slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> torch.Tensor:
        self.cache.aim(slots, starts, counts)
        width = len(tokens[0])
        positions = self._tensor(starts)[:, None] + torch.arange(width, device=self.network.device)
        lengths = tuple(start + count for start, count in zip(starts, counts, strict=True))
        alike = min(starts) == max(starts)
        output = self.network(
            input_ids=self._tensor(tokens),
            attention_mask=None if alike else self._mask(positions, lengths),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits
        return logits[:, -1]

    def _tensor(self, numbers: Any) -> torch.Tensor:
        return torch.tensor(numbers, device=self.network.device)

    def _mask(self, positions: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor | dict[str, torch.Tensor]:
        """What is added to the attention of [rows, 1, queries, keys]: 0 for what a query sees, else the lowest number.

        Networks with several kinds of layers take a mask for each kind. `positions` is [rows, queries].
        """
        behind = positions[:, None, :, None] - torch.arange(max(lengths), device=positions.device)
        masks = {}
        for kind in self._kinds:
            hidden = behind < 0
            if kind == "sliding_attention":
                hidden |= behind >= self._config.sliding_window
            mask = torch.zeros(hidden.shape, dtype=self.network.dtype, device=positions.device)
            tell_lengths(mask, lengths)
            masks[kind] = mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)
        return masks if len(masks) > 1 else masks[self._kinds[0]]


def scales_with_longest(config: Any) -> bool:
    """Whether one row beyond the length of the training changes the positions of all (longrope, dynamic)."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for kind in [parameters, *(value for value in parameters.values() if isinstance(value, dict))]:
        name = str(kind.get("rope_type", ""))
        trained = kind.get("original_max_position_embeddings") or 0
        if "dynamic" in name or (name == "longrope" and trained < config.max_position_embeddings):
            return True
    return False
