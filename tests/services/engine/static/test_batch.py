"""Who is computed together: the oldest in any case, and who fits it."""

import pytest

from services.engine.base import GenerationRequest, Job, Prompt
from services.engine.row import Answer
from services.engine.sampling.parameters import Sampling
from services.engine.static.batch import Limits, Unit, next_batch, units_of

pytestmark = pytest.mark.unit

GREEDY = Sampling(do_sample=False)
BEAMS = Sampling(do_sample=False, num_beams=4, num_return_sequences=2)


def units(*lengths: int, max_new: int = 5, sampling: Sampling = GREEDY, batch_size: int = 0) -> list[Unit]:
    prompts = tuple(Prompt(tuple(range(length)), max_new) for length in lengths)
    job = Job(GenerationRequest(prompts, sampling, seed=1, batch_size=batch_size))
    return units_of(Answer(job, decode=lambda _: "", ends=()).rows)


def lengths(batch: list[Unit]) -> list[int]:
    return [unit.length for unit in batch]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param(Limits(rows=9, tokens=10_000), [10, 11, 8, 30, 90], id="all, by likeness"),
        pytest.param(Limits(rows=3, tokens=10_000), [10, 11, 8], id="rows"),
        pytest.param(Limits(rows=9, tokens=64), [10, 11, 8], id="tokens"),
        pytest.param(Limits(rows=9, tokens=1), [10], id="the oldest in any case"),
        pytest.param(Limits(rows=9, tokens=10_000, prompt_tokens=33), [10, 11, 8], id="prompts read at once"),
        pytest.param(Limits(rows=9, tokens=10_000, context=35), [10, 11, 8, 30], id="context"),
        pytest.param(Limits(rows=9, tokens=10_000, padding=False), [10], id="no padding"),
    ],
)
def test_who_joins_the_oldest(limits: Limits, expected: list[int]) -> None:
    assert lengths(next_batch([*units(10, 90), *units(8, 30, 11)], limits)) == expected


def test_prompts_of_one_length_need_no_padding() -> None:
    waiting = [*units(10, 20), *units(10, 20)]
    assert lengths(next_batch(waiting, Limits(rows=9, tokens=10_000, padding=False))) == [10, 10]


def test_a_request_has_at_most_its_batch_size_in_one_batch() -> None:
    several = Sampling(do_sample=True, num_return_sequences=2)
    waiting = [*units(10, 11, 12, sampling=several, batch_size=2), *units(40)]
    assert lengths(next_batch(waiting, Limits(rows=9, tokens=10_000))) == [10, 10, 11, 11, 40]


def test_beams_share_a_batch_when_all_their_settings_are_the_same() -> None:
    waiting = [
        *units(10, sampling=BEAMS),
        *units(10),
        *units(12, sampling=BEAMS),
        *units(11, max_new=6, sampling=BEAMS),
    ]
    limits = Limits(rows=8, tokens=10_000)
    assert [len(unit.rows) for unit in waiting] == [2, 1, 2, 2]
    assert lengths(next_batch(waiting, limits)) == [10, 12]
    assert lengths(next_batch(waiting[1:], limits)) == [10]
    assert lengths(next_batch([*waiting[:1], *units(9, 9, sampling=BEAMS)], limits)) == [10, 9]


def test_beams_that_are_sampled_stay_alone() -> None:
    sampled = Sampling(do_sample=True, num_beams=2)
    assert lengths(next_batch(units(10, 10, sampling=sampled), Limits(rows=9, tokens=10_000))) == [10]
