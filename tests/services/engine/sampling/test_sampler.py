"""The sampler chooses as transformers' processors and warpers do, row by row, whatever else is in the batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from services.engine.base import GenerationRequest, Job, Prompt
from services.engine.row import Row
from services.engine.sampling.parameters import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from services.engine.sampling.sampler import Sampler

pytestmark = pytest.mark.unit

GREEDY = Sampling(do_sample=False)
DEFAULT = Sampling(do_sample=True, temperature=0.7, top_p=0.9, top_k=50)
OPEN = Sampling(do_sample=True)

SPREADS = {
    "ours": DEFAULT,
    "cold": replace(DEFAULT, temperature=0.05),
    "hot": replace(DEFAULT, temperature=3.0),
    "one candidate": replace(DEFAULT, top_k=1),
    "top_k alone": Sampling(do_sample=True, top_k=7),
    "top_p alone": Sampling(do_sample=True, temperature=1.5, top_p=0.8),
    "tiny top_p": Sampling(do_sample=True, top_p=1e-6),
    "many candidates": Sampling(do_sample=True, temperature=4.0, top_k=900),
    "more than there are": Sampling(do_sample=True, top_k=100_000),
    "no limit": OPEN,
    "hot without limit": replace(OPEN, temperature=8.0),
}

VOCABULARY = 1100
"""Not a multiple of a chunk."""


def make_row(
    sampling: Sampling, *, seed: int = 1, ids: Sequence[int] = (1,), tokens: Sequence[int] = (), min_new: int = 0
) -> Row:
    request = GenerationRequest((Prompt(tuple(ids), 100, min_new),), sampling, seed)
    row = Row(Job(request), 0, 0, decode=lambda _: "", ends={2})
    row.tokens += tokens
    return row


def make_sampler(start: Sequence[int] | None = None, **config: Any) -> "Sampler":
    from transformers import GenerationConfig

    from services.engine.sampling.sampler import Sampler

    return Sampler(GenerationConfig(**config), ends={2, 9}, start=start)


def scores(rows: int = 1, *, seed: int = 0, vocabulary: int = VOCABULARY, ties: bool = False) -> "Tensor":
    import torch

    made = torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 2.5
    return (made * 2).round() / 2 if ties else made


def warped(given: "Tensor", sampling: Sampling, config: Any) -> "Tensor":
    """The probabilities that transformers samples from."""
    import transformers

    values = given.clone() / sampling.temperature
    if sampling.top_k:
        values = transformers.TopKLogitsWarper(sampling.top_k)(None, values)
    if sampling.top_p < 1:
        values = transformers.TopPLogitsWarper(sampling.top_p)(None, values)
    if config.min_p is not None:
        values = transformers.MinPLogitsWarper(config.min_p)(None, values)
    if config.typical_p is not None:
        values = transformers.TypicalLogitsWarper(config.typical_p)(None, values)
    return values.softmax(-1)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("config", [{}, {"min_p": 0.05}, {"typical_p": 0.7}], ids=["", "min_p", "typical_p"])
@pytest.mark.parametrize("name", SPREADS)
def test_tokens_come_as_often_as_transformers_has_them_come(name: str, config: dict[str, Any], ties: bool) -> None:
    """Random numbers in equal steps: each token's share is its probability, to within a step."""
    import torch
    from transformers import GenerationConfig

    from services.engine.sampling.drawing import Spread, draw_tokens
    from services.engine.sampling.sampler import make_warpers

    steps = 800
    spread, generation_config = SPREADS[name], GenerationConfig(**config)
    given = scores(seed=3, ties=ties)
    chosen = draw_tokens(
        given.expand(steps, -1),
        Spread.of_rows([spread] * steps, given.device),
        (torch.arange(steps) + 0.5) / steps,
        make_warpers(generation_config),
    )
    shares = torch.bincount(chosen, minlength=VOCABULARY) / steps
    expected = warped(given, spread, generation_config)[0]
    if ties:  # which of the tokens with the same score is cut off by top_p is nobody's promise
        levels, where = given[0].unique(return_inverse=True)  # type: ignore[no-untyped-call]  # torch has no types here
        shares, expected = (torch.zeros(len(levels)).index_add(0, where, part) for part in (shares, expected))
    kept = int((expected > 0).sum())
    torch.testing.assert_close(shares, expected, rtol=0, atol=1.01 / steps + (0.001 if kept > 500 else 0))
    assert not shares[expected == 0].any()


def test_greedy_rows_take_the_best_token_the_first_of_several() -> None:
    given = scores(40, ties=True)
    for vocabulary in (3, 64, 100, VOCABULARY):
        part = given[:, :vocabulary].clone()
        expected = part.argmax(-1).tolist()
        assert make_sampler().choose(part, [make_row(GREEDY) for _ in range(40)]) == expected


@pytest.mark.parametrize("start", [None, (5,)], ids=["decoder", "encoder-decoder"])
def test_repetition_penalty_is_that_of_transformers_for_each_row(start: tuple[int, ...] | None) -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    penalties = (1.0, 1.3, 0.7, 5.0)
    rows = [
        make_row(replace(GREEDY, repetition_penalty=penalty), ids=range(10, 20 + 7 * place), tokens=[3, 4])
        for place, penalty in enumerate(penalties)
    ]
    sampler = make_sampler(start=start)
    for step in range(200):
        given = scores(len(rows), seed=step, vocabulary=70)
        expected = []
        for place, row in enumerate(rows):
            held = torch.tensor([[*(row.prompt.ids if start is None else start), *row.tokens]])
            processor = RepetitionPenaltyLogitsProcessor(row.sampling.repetition_penalty)
            expected.append(int(processor(held, given[place : place + 1].clone()).argmax()))
        chosen = sampler.choose(given, rows)
        assert chosen == expected
        for row, token in zip(rows, expected, strict=True):
            row.tokens.append(token)


def test_a_row_that_must_go_on_takes_no_end_token() -> None:
    given = scores(3, vocabulary=80)
    given[:, 2] = 50
    given[:, 9] = 40
    rows = [make_row(GREEDY, min_new=least, tokens=[5]) for least in (0, 1, 2)]
    third = int(given[2].topk(3).indices[2])
    assert make_sampler().choose(given, rows) == [2, 2, third]


def test_a_row_gets_the_same_tokens_whatever_else_is_in_the_batch() -> None:
    import torch

    sampler, alone = make_sampler(), make_sampler()
    kinds = list(SPREADS.values())
    row, single = make_row(DEFAULT, seed=42), make_row(DEFAULT, seed=42)
    for step in range(60):
        given = scores(seed=step)
        neighbours = [make_row(kinds[(step + place) % len(kinds)], seed=place) for place in range(step % 5)]
        place = step % (len(neighbours) + 1)
        rows = [*neighbours[:place], row, *neighbours[place:]]
        together = torch.cat([scores(place, seed=99), given, scores(len(neighbours) - place, seed=98)])
        token = sampler.choose(together, rows)[place]
        assert alone.choose(given, [single]) == [token]
        assert token is not None
        row.tokens.append(token)
        single.tokens.append(token)
    assert len(set(row.tokens)) > 20


def test_seeds_and_positions_choose_independently() -> None:
    """Over many seeds and positions the numbers fill [0, 1) evenly, and neighbours have nothing in common."""
    import numpy as np

    from services.engine.sampling.randomness import row_seed, uniforms

    seeds = np.array([row_seed(seed, 0, 0) for seed in range(200)], np.uint64)
    numbers = np.stack([uniforms(seeds, [position] * 200) for position in range(200)])
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 150  # chi-square with 99 degrees of freedom: p < 0.001 above 148
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("sampling", [GREEDY, DEFAULT, OPEN], ids=["greedy", "sampled", "without limit"])
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_concern_their_row_alone(sampling: Sampling, bad: str) -> None:
    rows = [make_row(sampling, seed=seed) for seed in range(3)]
    given = scores(3)
    whole = make_sampler().choose(given.clone(), rows)
    given[1, 7 if bad != "-inf" else slice(None)] = float(bad)
    assert make_sampler().choose(given, rows) == [whole[0], None, whole[2]]


def test_tokens_that_the_network_forbids_are_never_chosen() -> None:
    given = scores(200)
    given[:, 5:] = float("-inf")
    chosen = make_sampler().choose(given, [make_row(OPEN, seed=seed) for seed in range(200)])
    assert set(chosen) == set(range(5))


def test_what_only_generate_can_do_is_told_from_the_models_generation_config() -> None:
    from transformers import GenerationConfig

    from services.engine.sampling.sampler import is_complete_for

    done = {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.05, "min_p": 0.1, "num_beams": 1, "max_length": 9}
    assert is_complete_for(GenerationConfig(**done))
    assert is_complete_for(GenerationConfig(no_repeat_ngram_size=0, remove_invalid_values=False))
    for asked in ({"no_repeat_ngram_size": 3}, {"suppress_tokens": [4]}, {"forced_eos_token_id": 0}):
        assert not is_complete_for(GenerationConfig(**asked))
