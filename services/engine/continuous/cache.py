"""Keys and values of every row in one buffer a layer, so that attention reads rows without joining them."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from services.engine.loading.one_token import PAGE

Block = list[torch.Tensor]
"""Keys and values of some neighbouring tokens, of all layers, each [heads, tokens, size of a head]."""


class SlotCache(Cache):  # type: ignore[misc]  # transformers has no types
    """What a network of transformers takes as `past_key_values`: a slot for each row of the batch.

    A buffer has the shape [slots, heads, capacity, size of a head]; layers, and keys and values, may differ in heads
    and sizes. It grows by powers of two as rows and their lengths do.

    limit: slots x capacity at most.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.limit = sys.maxsize
        self._slots = 0
        self._capacity = 0
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._where = _Where([0], [0], [1])

    @property
    def bytes_per_token(self) -> int:
        """Of all layers; known after the first forward."""
        return sum(buffer[0, :, 0].nbytes for buffer in self._all())

    @property
    def size(self) -> int:
        """Tokens that fit into the buffers as they are."""
        return self._slots * self._capacity

    def reserve(self, slots: int, length: int) -> None:
        """See to it that `slots` rows of `length` tokens fit; slots x length must not be more than the limit.

        What the first `slots` slots hold stays.
        """
        if slots <= self._slots and length <= self._capacity:
            return
        wide = max(_power_of_two(slots), self._slots)
        long = max(_power_of_two(max(length, PAGE)), self._capacity)
        if wide * long > self.limit:
            wide, long = slots, max(length, min(long, self.limit // slots))
        for layer, (keys, values) in self._buffers.items():
            larger = _room_for_keys(keys, wide, long), _room_for_values(values, wide, long)
            self._buffers[layer] = _moved(keys, larger[0]), _moved(values, larger[1])
        self._slots, self._capacity = wide, long

    def aim(self, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> None:
        """Say what the next forward does: row `i` lives in `slots[i]`, has `starts[i]` tokens and gets `counts[i]`."""
        self._where = _Where(slots, starts, counts)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the new keys and values, both [rows, heads, tokens, size of a head]; return those of all tokens."""
        if layer_idx not in self._buffers:
            room = self._slots, self._capacity
            self._buffers[layer_idx] = _room_for_keys(key_states, *room), _room_for_values(value_states, *room)
        keys, values = self._buffers[layer_idx]
        return self._where.store(keys, key_states), self._where.store(values, value_states)

    def copy(self, source: int, target: int, stop: int, start: int = 0) -> None:
        """Let the target's tokens from position `start` up to `stop` be the source's."""
        if start == stop:  # the slots may not be there yet
            return
        for buffer in self._all():
            buffer[target, :, start:stop] = buffer[source, :, start:stop]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` tokens of two slots."""
        for buffer in self._all():
            kept = buffer[one, :, :length].clone()
            buffer[one, :, :length] = buffer[other, :, :length]
            buffer[other, :, :length] = kept

    def cut(self, slot: int, start: int, stop: int) -> tuple[Block, int]:
        """A copy of the keys and values of some tokens, and how many bytes it has."""
        block = [buffer[slot, :, start:stop].clone() for buffer in self._all()]
        return block, sum(part.nbytes for part in block)

    def paste(self, slot: int, start: int, block: Block) -> None:
        """Put what was cut into another slot."""
        for buffer, part in zip(self._all(), block, strict=True):
            buffer[slot, :, start : start + part.shape[1]] = part

    def scrub(self, lengths: Sequence[int]) -> None:
        """Forget all but the first `lengths[i]` tokens of slot `i`.

        Needed where something is not finite: attention weighs what a mask hides with 0, and 0 x NaN is NaN.
        """
        for buffer in self._all():
            for slot, length in enumerate(lengths):
                buffer[slot, :, length:] = 0
            buffer[len(lengths) :] = 0

    def reset(self) -> None:
        """Give the memory back."""
        self._buffers.clear()
        self._slots = self._capacity = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - all layers keep every token
        """Tokens that each row had before, for networks that make their own mask; asked only when rows are alike."""
        return self._where.start

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:  # noqa: ARG002 - as above
        return self._where.start + query_length, 0

    def _all(self) -> Iterable[torch.Tensor]:
        for pair in self._buffers.values():
            yield from pair


class _Where:
    """Which slots and positions one forward writes and reads."""

    def __init__(self, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> None:
        self._places = list(zip(slots, starts, counts, strict=True))
        self._width = max(counts)
        self._length = max(start + count for _, start, count in self._places)
        neighbours = list(slots) == list(range(slots[0], slots[0] + len(slots)))
        self._rows: slice | list[int] = slice(slots[0], slots[0] + len(slots)) if neighbours else list(slots)
        self._alike = neighbours and min(starts) == max(starts)
        self._index = (torch.tensor(slots), torch.tensor(starts)) if self._width == 1 and not self._alike else None
        self.start = starts[0]

    def store(self, buffer: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Write what is new; return all of it, [rows, heads, length, size of a head]."""
        if self._alike:  # what pads a row is written, too: nothing sees it before it is overwritten
            buffer[self._rows, :, self.start : self.start + self._width] = states
            if self.start == 0:
                return states
        elif self._index is not None:
            slots, starts = self._index
            buffer[slots, :, starts] = states[:, :, 0]
        else:
            for row, (slot, start, count) in enumerate(self._places):
                buffer[slot, :, start : start + count] = states[row, :, :count]
        return buffer[:, :, : self._length][self._rows]


def _room_for_keys(states: torch.Tensor, slots: int, capacity: int) -> torch.Tensor:
    """Tokens lie side by side in whole pages, as `attend_one` reads them; the shape says nothing of it."""
    _, heads, _, size = states.shape
    return states.new_zeros(slots, heads, size, -(-capacity // PAGE) * PAGE).transpose(2, 3)[:, :, :capacity]


def _room_for_values(states: torch.Tensor, slots: int, capacity: int) -> torch.Tensor:
    _, heads, _, size = states.shape
    return states.new_zeros(slots, heads, capacity, size)


def _moved(buffer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The target with all of the buffer that it has room for."""
    slots, length = min(buffer.shape[0], target.shape[0]), min(buffer.shape[2], target.shape[2])
    target[:slots, :, :length] = buffer[:slots, :, :length]
    return target


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
