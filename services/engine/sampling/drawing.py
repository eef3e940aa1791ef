"""Draws one token from each of many rows of scores, looking at no more of the vocabulary than it must.

A row's best tokens are put in order and its random number says how far down to go: the inverse of the cumulative
distribution. So the same scores and the same number give the same token, whatever else is in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from services.engine.sampling.parameters import Sampling

_CHUNK = 64
"""Neighbouring tokens whose best stands for them while the first best token of all is looked for."""

_GROUPS = (64, 8)
"""Sizes of groups of tokens, the best of which stand for them while the best of all are looked for."""

_FEW = 64
"""Candidates looked at first: the usual top_k of 50, and tokens that tie with the last of them."""

_WIDER = 8
"""How many times as many are looked at next, for the rows that these were not enough for."""

_BELOW_ONE = 1 - 2**-23


@dataclass(frozen=True, slots=True)
class Spread:
    """How widely each of n rows is sampled; all [n, 1].

    top_k: 0 where there is no such limit; top_p: 2 where there is none.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor

    @classmethod
    def of_rows(cls, rows: Sequence[Sampling], device: torch.device) -> "Spread":
        return cls(
            torch.tensor([[row.temperature] for row in rows], device=device),
            torch.tensor([[row.top_k] for row in rows], device=device),
            torch.tensor([[row.top_p if row.top_p < 1 else 2.0] for row in rows], device=device),
        )

    def of(self, rows: Tensor) -> "Spread":
        return Spread(self.temperature[rows], self.top_k[rows], self.top_p[rows])


def draw_tokens(scores: Tensor, spread: Spread, numbers: Tensor, warpers: LogitsProcessorList) -> Tensor:
    """One token a row: scores [n, token], numbers [n] in [0, 1)."""
    vocabulary = scores.shape[1]
    total = _total(scores, spread)
    width = min(vocabulary, max(_FEW, int(spread.top_k.max()) * 5 // 4))
    values, tokens = _largest(scores, width)
    places, certain = _draw(values, spread, numbers, total, warpers)
    chosen = tokens.gather(1, places[:, None])[:, 0]
    rest = (~certain).nonzero()[:, 0]
    while width < vocabulary and len(rest):
        width = min(vocabulary, width * _WIDER)
        values, tokens = _largest(scores[rest], width)
        places, certain = _draw(values, spread.of(rest), numbers[rest], total[rest], warpers)
        chosen[rest] = tokens.gather(1, places[:, None])[:, 0]
        rest = rest[~certain]
    return chosen


def _total(scores: Tensor, spread: Spread) -> Tensor:
    """Weight [n, 1] of the whole vocabulary, that of the best token being 1, for rows without top_k; else 0."""
    total = torch.zeros_like(spread.temperature)
    rows = (spread.top_k[:, 0] == 0).nonzero()[:, 0]
    if len(rows):
        scaled = scores[rows] / spread.temperature[rows]
        total[rows] = (scaled - scaled.amax(-1, keepdim=True)).exp().sum(-1, keepdim=True)
    return total


def _draw(
    values: Tensor, spread: Spread, numbers: Tensor, total: Tensor, warpers: LogitsProcessorList
) -> tuple[Tensor, Tensor]:
    """The place [n] of each row's choice among its best `values` [n, width], which fall; and whether it is certain.

    It is not when tokens that are not among the values could belong to the choice, too.
    """
    scaled = values / spread.temperature
    weights = (scaled - scaled[:, :1]).exp()
    open_ended = spread.top_k == 0
    least = scaled.gather(1, (spread.top_k - 1).clamp(0, scaled.shape[1] - 1))
    weights = weights.where(open_ended | (scaled >= least), 0)
    total = total.where(open_ended, weights.sum(-1, keepdim=True))
    above = weights.cumsum(-1) - weights
    weights = weights.where(above < spread.top_p * total, 0)
    reaches_end = ((weights > 0) & (scaled == scaled[:, -1:])).any(-1)
    if warpers:
        kept = warpers(None, scaled.where(weights > 0, -torch.inf))
        weights = weights.where(kept > -torch.inf, 0)
    sums = weights.cumsum(-1)
    unlimited = open_ended & (spread.top_p > 1) if not warpers else torch.zeros_like(open_ended)
    target = numbers[:, None] * total.where(unlimited, sums[:, -1:])
    certain = ~reaches_end | (unlimited & (sums[:, -1:] > target))[:, 0]
    target = target.minimum(sums[:, -1:] * _BELOW_ONE)
    places = (sums <= target).sum(-1)
    return places.clamp(max=values.shape[1] - 1), certain  # a row that is not finite has no place


def best_tokens(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest score and its first token of each row, as `max(-1)`, several times faster on a processor."""
    columns = _chunk_maxima(scores).argmax(-1, keepdim=True) * _CHUNK + torch.arange(_CHUNK, device=scores.device)
    columns = columns.clamp(max=scores.shape[1] - 1)
    values, places = scores.gather(1, columns).max(-1, keepdim=True)
    return values[:, 0], columns.gather(1, places)[:, 0]


def _largest(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The greatest `width` scores of each row, falling, and their tokens, as `topk(width)`, faster on a processor.

    They are in the `width` groups whose best are greatest, or left over when all groups are full. What is in these is
    grouped again.
    """
    rows, vocabulary = scores.shape
    size = next((size for size in _GROUPS if vocabulary // size >= 2 * width), None)
    if size is None:
        values, tokens = scores.topk(width)
        return values, tokens
    groups = vocabulary // size
    grouped = scores[:, : groups * size].view(rows, size, groups)
    best = grouped.amax(1).topk(width, sorted=False).indices
    inside = torch.arange(size, device=scores.device)[:, None] * groups
    left_over = torch.arange(groups * size, vocabulary, device=scores.device).expand(rows, -1)
    columns = torch.cat([(best[:, None] + inside).flatten(1), left_over], 1)
    values, places = _largest(scores.gather(1, columns), width)
    return values, columns.gather(1, places)


def _chunk_maxima(scores: Tensor) -> Tensor:
    """The greatest score of each chunk [row, chunk]; the last chunk may hold fewer tokens."""
    whole = scores.shape[1] // _CHUNK * _CHUNK
    maxima = scores[:, :whole].view(len(scores), -1, _CHUNK).amax(-1)
    if whole == scores.shape[1]:
        return maxima
    return torch.cat([maxima, scores[:, whole:].amax(-1, keepdim=True)], 1)
