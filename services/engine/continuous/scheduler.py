"""Who joins the batch, and how many tokens of which prompts are read next; knows neither torch nor time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

CHUNK_S = 0.25
"""How long running answers wait while a chunk of somebody's prompt is read."""

FEWEST, MOST = 32, 2048
"""Tokens of one chunk: fewer would waste the pass over the weights, more need much memory in some layers."""

_ATTENTION = 1 << 22
"""New tokens x all tokens of a chunk: some layers hold a number, or one a head, for each pair."""

_PADDING = 1.5
"""A row reads together with rows that are longer by this factor at most, since it is padded to them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """rows: sequences in the batch. tokens: rows x the longest of them, prompt and answer: the cache is a rectangle."""

    rows: int
    tokens: int

    def hold(self, rows: int, longest: int) -> bool:
        return rows <= self.rows and rows * longest <= self.tokens


def bounded(tokens: int, behind: int) -> int:
    """How many of `tokens` a chunk may have whose rows have up to `behind` tokens already."""
    return min(tokens, max(FEWEST, _ATTENTION // max(1, behind)))


def next_chunk(left: Sequence[int], tokens: int) -> tuple[list[int], int]:
    """Which rows read now, and up to how many tokens each: (indices, width) with indices x width <= `tokens`.

    left: tokens that each row has yet to read, in the order of arrival. The first row always reads; those join it that
    are about as long.
    """
    first = left[0]
    if first >= tokens:
        return [0], tokens
    best: list[int] = []
    width = first
    for wide in sorted({count for count in left if first <= count <= min(tokens, first * _PADDING)}):
        alike = [index for index, count in enumerate(left) if wide / _PADDING <= count <= wide][: tokens // wide]
        if len(alike) > len(best):
            best, width = alike, wide
    return best, width


class Pace:
    """How many tokens a chunk may have, so that it takes about CHUNK_S on this machine."""

    def __init__(self) -> None:
        self.tokens = 256

    def note(self, tokens: int, seconds: float) -> None:
        """A chunk of so many tokens, padding included, took so long. Small ones tell little: weights weigh more."""
        if tokens * 4 < self.tokens:
            return
        possible = tokens * CHUNK_S / max(seconds, 1e-6)
        self.tokens = round(min(max((self.tokens + possible) / 2, FEWEST), MOST))
