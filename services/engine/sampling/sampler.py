"""Chooses the next token of many rows at once: what transformers' processors and warpers do, for all rows together.

Each row has its own temperature, top_p, top_k, repetition penalty, least length and seed. The order is transformers':
repetition penalty, least length, temperature, top_k, top_p, then the warpers that only a repository asks for.
Import it in the engine's thread only: it imports torch and transformers.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitsProcessorList,
    MinPLogitsWarper,
    TopHLogitsWarper,
    TypicalLogitsWarper,
)

from services.engine.row import Row
from services.engine.sampling.drawing import Spread, best_tokens, draw_tokens
from services.engine.sampling.randomness import uniforms

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "guidance_scale": (1,),
    "sequence_bias": (),
    "encoder_repetition_penalty": (1.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "remove_invalid_values": (False,),
    "exponential_decay_length_penalty": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "watermarking_config": (),
}
"""What a generation_config.json may ask for and only `generate()` does, with the values that ask for nothing."""


def is_complete_for(generation_config: Any) -> bool:
    """Whether the Sampler does all that the model's own generation config asks for; else its rows need `generate()`."""
    values = ((getattr(generation_config, name, None), neutral) for name, neutral in _NEUTRAL.items())
    return all(value is None or value in neutral for value, neutral in values)


class Sampler:
    """Chooses tokens for rows, which may join and leave between any two steps.

    generation_config: the model's own; its min_p, typical_p, epsilon_cutoff, eta_cutoff and top_h are honoured.
    ends: tokens that end a text.
    start: what every row's text begins with in an encoder-decoder model; None: the rows' prompts.
    """

    def __init__(self, generation_config: Any, ends: Collection[int], start: Sequence[int] | None = None) -> None:
        self._warpers = make_warpers(generation_config)
        self._ends = sorted(ends)
        self._start = start
        self._batch: _Batch | None = None

    def choose(self, logits: Tensor, rows: Sequence[Row]) -> list[int | None]:
        """The next token of each row; None where the row's numbers are not finite, which concerns that row alone.

        logits: [row, token] of floats; may be overwritten. The rows' tokens are those chosen so far.
        """
        scores = logits.float()
        batch = self._batch
        if batch is None or not batch.is_of(rows, scores):
            batch = self._batch = _Batch(rows, scores, self._start)
        if batch.penalties is not None:
            batch.penalties.apply(scores)
        self._forbid_ends(scores, rows)
        best, chosen = best_tokens(scores)
        if batch.spread is not None:
            sampled = scores if batch.sampled is None else scores[batch.sampled]
            positions = [len(rows[index].tokens) for index in batch.sampled_indices]
            numbers = torch.from_numpy(uniforms(batch.seeds, positions)).to(scores.device)
            tokens = draw_tokens(sampled, batch.spread, numbers, self._warpers)
            chosen = tokens if batch.sampled is None else chosen.index_copy(0, batch.sampled, tokens)
        chosen = chosen.where(best.isfinite(), -1)
        return [None if token < 0 else token for token in chosen.tolist()]

    def _forbid_ends(self, scores: Tensor, rows: Sequence[Row]) -> None:
        short = [index for index, row in enumerate(rows) if len(row.tokens) < row.prompt.min_new]
        if short and self._ends:
            places = torch.tensor(short, device=scores.device)[:, None]
            scores[places, torch.tensor(self._ends, device=scores.device)] = -torch.inf


def make_warpers(config: Any) -> LogitsProcessorList:
    """Those that GenerationConfig may hold beside temperature, top_k and top_p, as `generate()` makes them."""

    def share(name: str) -> float | None:
        value = getattr(config, name, None)
        return value if value is not None and 0 < value < 1 else None

    warpers = LogitsProcessorList()
    for name, warper in (
        ("top_h", TopHLogitsWarper),
        ("min_p", MinPLogitsWarper),
        ("typical_p", TypicalLogitsWarper),
        ("epsilon_cutoff", EpsilonLogitsWarper),
        ("eta_cutoff", EtaLogitsWarper),
    ):
        value = share(name)
        if value is not None:
            warpers.append(warper(value))
    return warpers


class _Batch:
    """What stays the same while the rows do.

    sampled_indices: the rows that do not just take the best token; sampled: the same on the device, None when all are.
    """

    def __init__(self, rows: Sequence[Row], scores: Tensor, start: Sequence[int] | None) -> None:
        device = scores.device
        self._rows = list(rows)
        self._shape = scores.shape
        self.sampled_indices = [index for index, row in enumerate(rows) if row.sampling.do_sample]
        sampled = [rows[index] for index in self.sampled_indices]
        self.seeds = np.array([row.seed for row in sampled], np.uint64)
        everyone = len(sampled) == len(rows)
        self.sampled = None if everyone else torch.tensor(self.sampled_indices, device=device)
        self.spread: Spread | None = None
        if sampled:
            self.spread = Spread.of_rows([row.sampling for row in sampled], device)
        penalised = [index for index, row in enumerate(rows) if row.sampling.repetition_penalty != 1]
        self.penalties = _Penalties(rows, penalised, start, device) if penalised else None

    def is_of(self, rows: Sequence[Row], scores: Tensor) -> bool:
        return self._shape == scores.shape and self._rows == list(rows)


class _Penalties:
    """Makes tokens less likely that a row holds already, in its prompt or in its answer."""

    def __init__(
        self, rows: Sequence[Row], penalised: list[int], start: Sequence[int] | None, device: torch.device
    ) -> None:
        self._rows = [rows[index] for index in penalised]
        held = [[*(row.prompt.ids if start is None else start), *row.tokens] for row in self._rows]
        self._lengths = [len(tokens) for tokens in held]
        self._marked = [len(row.tokens) for row in self._rows]
        self._places = torch.tensor(penalised, device=device)
        self._penalty = torch.tensor([[row.sampling.repetition_penalty] for row in self._rows], device=device)
        longest = max(self._lengths)
        # A row's places without a token repeat its first one, which then gets its new score several times over.
        self._held = torch.tensor([tokens + tokens[:1] * (longest - len(tokens)) for tokens in held], device=device)

    def apply(self, scores: Tensor) -> None:
        self._mark_new()
        places = self._places[:, None]
        old = scores[places, self._held]
        scores[places, self._held] = torch.where(old < 0, old * self._penalty, old / self._penalty)

    def _mark_new(self) -> None:
        """Take in the tokens that came since the last step."""
        new = [
            (place, self._lengths[place] + offset, token)
            for place, row in enumerate(self._rows)
            for offset, token in enumerate(row.tokens[self._marked[place] :])
        ]
        if not new:
            return
        places, columns, tokens = (list(column) for column in zip(*new, strict=True))
        missing = max(columns) + 1 - self._held.shape[1]
        if missing > 0:
            more = self._held[:, :1].expand(-1, max(missing, self._held.shape[1]))
            self._held = torch.cat([self._held, more], 1)
        self._held[places, columns] = torch.tensor(tokens, device=self._held.device)
        for place, row in enumerate(self._rows):
            self._lengths[place] += len(row.tokens) - self._marked[place]
            self._marked[place] = len(row.tokens)
