"""What prompts begin with, kept by blocks of tokens, so that a system prompt that many requests share is read once."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

BLOCK = 32
"""Tokens of one block: fewer would cost more copies, more would leave more of a shared beginning to be read again."""

BlockT = TypeVar("BlockT")
"""Keys and values of one block, in whatever form the cache has them; nothing here looks inside."""

_ROOT = 0


def shared(ids: Sequence[int], others: Sequence[int], known: int = 0) -> int:
    """Tokens of the whole blocks that both begin with, so that one at least of `ids` is left, as `find` leaves it.

    known: so many are known to be shared; they are not compared.
    """
    count = known
    while count + BLOCK < len(ids) and ids[count : count + BLOCK] == others[count : count + BLOCK]:
        count += BLOCK
    return count


@dataclass(frozen=True, slots=True)
class _Kept(Generic[BlockT]):
    """number: stands for these tokens and all before them. size: in bytes."""

    number: int
    block: BlockT
    size: int


class Prefixes(Generic[BlockT]):
    """Blocks found by their tokens and those before them, the least recently used ones dropped for new ones.

    limit: bytes of all blocks together at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._numbers = _ROOT
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], _Kept[BlockT]] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return self._size

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, ids: Sequence[int]) -> list[BlockT]:
        """The blocks that these tokens begin with; one token at least is left, since the answer begins behind it."""
        found, keys = [], []
        before = _ROOT
        for start in range(0, len(ids) - BLOCK, BLOCK):
            key = (before, tuple(ids[start : start + BLOCK]))
            kept = self._kept.get(key)
            if kept is None:
                break
            found.append(kept.block)
            keys.append(key)
            before = kept.number
        self._touch(keys)
        return found

    def keep(self, ids: Sequence[int], copy: Callable[[int, int], tuple[BlockT, int]]) -> None:
        """Keep the whole blocks of a prompt that was read.

        copy: makes the block of the tokens from the first to the second position, and says how many bytes it has.
        """
        keys: list[tuple[int, tuple[int, ...]]] = []
        before = _ROOT
        for start in range(0, len(ids) - BLOCK + 1, BLOCK):
            key = (before, tuple(ids[start : start + BLOCK]))
            kept = self._kept.get(key)
            if kept is None:
                block, size = copy(start, start + BLOCK)
                if not self._make_room(size, keys):
                    break
                self._numbers += 1
                kept = self._kept[key] = _Kept(self._numbers, block, size)
                self._size += size
            keys.append(key)
            before = kept.number
            self._touch(keys[-1:])
        self._touch(keys)

    def clear(self) -> None:
        self._kept.clear()
        self._size = 0

    def _touch(self, keys: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        """Used just now; a block outlives those behind it, which could not be found without it."""
        for key in reversed(keys):
            self._kept.move_to_end(key)

    def _make_room(self, size: int, using: Sequence[tuple[int, tuple[int, ...]]]) -> bool:
        """Drop the oldest blocks until `size` more bytes fit; False when only those in use are left."""
        if size > self._limit:
            return False
        while self._size + size > self._limit:
            oldest = next(iter(self._kept))
            if oldest in using:
                return False
            self._size -= self._kept.pop(oldest).size
        return True
