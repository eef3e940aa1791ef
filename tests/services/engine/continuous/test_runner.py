"""What a request gets from the running batch does not depend on who else is in it, comes, leaves or fails."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.engine.base import Finished, Job, Prompt
from services.engine.continuous.prefixes import shared
from services.errors import ServiceError
from tests.services.conftest import Tiny
from tests.services.engine.continuous.driving import SAMPLED, generated, make, prompts, request, staggered
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import RAGGED_AND_SERIAL, Recorder, finish, run, time_per_token

if TYPE_CHECKING:
    from services.engine.base import GenerationRequest
    from services.engine.continuous.runner import ContinuousRunner
    from services.engine.loading.generators import LoadedModel

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> "LoadedModel":
    return load(tiny, "llama")


def test_a_cancelled_neighbour_changes_nothing(model: "LoadedModel") -> None:
    requests = [request(prompt) for prompt in prompts(16)]
    whole = staggered(make(model, rows=5, chunk=40), requests)
    cancelled = range(0, 16, 3)
    ends = staggered(make(model, rows=5, chunk=40), requests, cancelled=cancelled)
    kept = [index for index in range(16) if index not in cancelled]
    assert [ends[index] for index in kept] == [whole[index] for index in kept]
    assert None in ends


def test_a_cancelled_request_leaves_within_one_step(model: "LoadedModel") -> None:
    recorder = Recorder()
    runner = make(model)(recorder.host)
    job = Job(request(Prompt((5, 6, 7), max_new=100), Prompt((5, 6), max_new=100)))
    runner.add(job)
    for _ in range(3):
        runner.step()
    assert runner.occupancy.rows == 2
    job.cancelled = True
    runner.step()
    assert (runner.occupancy.rows, runner.busy, recorder.ends) == (0, False, {})


def test_a_prompt_read_in_chunks_says_the_same(model: "LoadedModel") -> None:
    asked = [request(prompt) for prompt in prompts(6, longest=200)]
    assert run(make(model, chunk=7), asked) == run(make(model, chunk=2048), asked)


def test_a_long_prompt_does_not_stop_those_that_write(model: "LoadedModel") -> None:
    recorder = Recorder()
    runner = make(model, chunk=10)(recorder.host)
    writing, reading = Job(request(Prompt((5, 6, 7), max_new=12))), Job(request(prompt_of(110)))
    runner.add(writing)
    runner.step()
    runner.add(reading)
    for _ in range(10):
        runner.step()
    assert (writing in recorder.ends, reading.first_token_s) == (True, None)
    finish(runner, recorder, [])
    assert recorder.ends[reading] == generated(model, prompt_of(110))


def prompt_of(length: int, *, max_new: int = 5) -> Prompt:
    return Prompt(tuple(5 + place * 7 % 240 for place in range(length)), max_new=max_new)


@pytest.mark.parametrize("chunk", [9, 64])
def test_a_seed_gives_the_same_text_whatever_else_runs(model: "LoadedModel", chunk: int) -> None:
    wanted = request(*prompts(2, seed=9), sampling=replace(SAMPLED, num_return_sequences=3), seed=5)
    (alone,) = run(make(model), [wanted])
    others = [request(prompt, sampling=SAMPLED, seed=index) for index, prompt in enumerate(prompts(10))]
    ends = staggered(make(model, rows=7, chunk=chunk), [*others[:5], wanted, *others[5:]], seed=chunk)
    assert ends[5] == alone
    assert isinstance(alone, Finished)
    assert len({text for texts in alone.texts for text in texts}) == 6


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens of prompts the network reads, row by row."""
    from services.engine.continuous.network import Network

    counts: list[int] = []
    original = Network.read

    def count(self: Network, tokens: Any, *where: Any) -> Any:
        counts.extend(map(len, tokens))
        return original(self, tokens, *where)

    monkeypatch.setattr(Network, "read", count)
    return counts


def test_sequences_of_one_prompt_read_it_once(model: "LoadedModel", read: list[int]) -> None:
    sampling = replace(SAMPLED, num_return_sequences=4)
    run(make(model, rows=4, chunk=20), [request(prompt_of(50), sampling=sampling)])
    assert sum(read) == 50


def test_what_prompts_begin_with_is_read_once(model: "LoadedModel", read: list[int]) -> None:
    system = prompt_of(100).ids
    asked = [Prompt((*system, *each.ids), max_new=6) for each in prompts(5, longest=20)]
    recorder = Recorder()
    runner = make(model, prefix_bytes=10**6)(recorder.host)
    for prompt in asked:
        job = Job(request(prompt))
        assert finish(runner, recorder, [job]) == [generated(model, prompt)]
    assert read == [len(asked[0].ids), *(len(prompt.ids) - 96 for prompt in asked[1:])]
    runner.reset()
    finish(runner, recorder, [Job(request(asked[0]))])
    assert read[-1] == len(asked[0].ids)


@pytest.mark.parametrize("prefix_bytes", [0, 10**6])
def test_what_prompts_that_come_together_begin_with_is_read_once(
    model: "LoadedModel", read: list[int], prefix_bytes: int
) -> None:
    asked = [Prompt((*prompt_of(100).ids, *each.ids), max_new=6) for each in prompts(8, longest=20)]
    ends = run(make(model, chunk=40, prefix_bytes=prefix_bytes), [request(prompt) for prompt in asked])
    assert sum(read) == len(asked[0].ids) + sum(len(prompt.ids) - 96 for prompt in asked[1:])
    assert ends == [generated(model, prompt) for prompt in asked]


def test_prompts_that_come_together_are_compared_once_and_copied_once(
    model: "LoadedModel", monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.engine.continuous import seats
    from services.engine.continuous.cache import SlotCache

    compared, copied = [], []
    copy = SlotCache.copy

    def compare(ids: tuple[int, ...], others: tuple[int, ...], known: int) -> int:
        compared.append((others[-1], ids[-1], known))
        return shared(ids, others, known)

    def count(self: SlotCache, source: int, target: int, stop: int, start: int = 0) -> None:
        copied.append((start, stop))
        copy(self, source, target, stop, start)

    monkeypatch.setattr(seats, "shared", compare)
    monkeypatch.setattr(SlotCache, "copy", count)
    system = prompt_of(100).ids
    recorder = Recorder()
    runner = make(model, chunk=10)(recorder.host)
    for each in [(*system[:40], 1), (*system, 2), (*system, 3), (*system, 4)]:
        runner.add(Job(request(Prompt(each, max_new=30, min_new=30))))
    while len(runner._seats.writing) < 4:
        runner.step()
    assert compared == [(1, 2, 0), (1, 3, 0), (2, 3, 32), (1, 4, 0), (2, 4, 32), (3, 4, 96)]
    assert copied == [(0, 32)] * 3 + [(32, 96)] * 2


def test_whoever_waits_for_a_row_that_leaves_reads_for_itself(model: "LoadedModel", read: list[int]) -> None:
    first, second, third = (Prompt((*prompt_of(100).ids, last), max_new=6) for last in (7, 8, 9))
    recorder = Recorder()
    runner = make(model, chunk=40)(recorder.host)
    left, *others = [Job(request(prompt)) for prompt in (first, second, third)]
    for job in (left, *others):
        runner.add(job)
    runner.step()
    assert read == [40]
    left.cancelled = True
    assert finish(runner, recorder, []) == []
    assert [recorder.ends[job] for job in others] == [generated(model, second), generated(model, third)]
    assert sum(read) == 40 + 101 + 5


def test_numbers_that_are_not_finite_stay_out_of_what_others_get_of_a_prompt(tiny: Tiny) -> None:
    model = with_bad_token(load(tiny, "llama"))
    system = tuple(5 + place % 60 for place in range(64))
    bad, good = Prompt((*system, 400), max_new=6), Prompt((*system, 7, 8), max_new=6)
    failed, end = run(make(model, chunk=200), [request(bad), request(good)])
    assert isinstance(failed, ServiceError)
    assert failed.code == "non_finite_output"
    assert end == generated(model, good)


def test_a_list_flows_through_in_order_and_others_get_in_between(model: "LoadedModel") -> None:
    recorder = Recorder()
    runner = make(model, rows=4)(recorder.host)
    many, one = Job(request(*prompts(30))), Job(request(prompt_of(4)))
    runner.add(many)
    for _ in range(3):
        runner.step()
    assert runner.occupancy.rows == 4
    while not runner.accepts(one.request):
        runner.step()
    runner.add(one)
    finish(runner, recorder, [])
    assert list(recorder.ends) == [one, many]
    assert recorder.ends[many] == joined([generated(model, prompt) for prompt in prompts(30)])


def joined(ends: list[Finished]) -> Finished:
    return Finished(
        tuple(text for end in ends for text in end.texts),
        tuple(reason for end in ends for reason in end.finish_reasons),
        sum(end.completion_tokens for end in ends),
    )


def test_batch_size_bounds_the_rows_of_one_request(model: "LoadedModel") -> None:
    rows = []

    def watch(runner: "ContinuousRunner") -> None:
        rows.append(runner.occupancy.rows)

    staggered(make(model, rows=8), [request(*prompts(9), batch_size=2)], watch=watch)
    assert max(rows) == 2


@pytest.mark.parametrize("asked", RAGGED_AND_SERIAL, ids=["ragged", "serial"])
def test_the_time_between_tokens_is_that_of_each_sequence(
    model: "LoadedModel", asked: "GenerationRequest", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert time_per_token(make(model), model, asked, monkeypatch) == pytest.approx(0.01)


def test_who_comes_first_joins_first(model: "LoadedModel") -> None:
    runner = make(model, rows=8, tokens=100)(Recorder().host)
    runner.add(Job(request(prompt_of(40, max_new=10))))
    large, small = request(prompt_of(41, max_new=10)), request(prompt_of(3, max_new=2))
    assert (runner.accepts(large), runner.accepts(small)) == (False, True)
    runner.add(Job(request(prompt_of(40, max_new=10), prompt_of(40, max_new=10))))
    assert not runner.accepts(small)


def test_the_cache_keeps_within_its_bound(model: "LoadedModel") -> None:
    sizes = []

    def watch(runner: "ContinuousRunner") -> None:
        sizes.append(runner._cache.size)
        assert runner.occupancy.cached_tokens <= 300

    asked = [request(prompt) for prompt in prompts(20, longest=120)]
    ends = staggered(make(model, rows=8, tokens=300), asked, watch=watch)
    assert ends == [generated(model, each.prompts[0]) for each in asked]
    assert max(sizes) <= 300


def test_a_prompt_that_never_fits_is_refused_with_the_numbers(model: "LoadedModel") -> None:
    refused, served = run(make(model, tokens=60), [request(prompt_of(50, max_new=20)), request(prompt_of(50))])
    assert isinstance(refused, ServiceError)
    assert (refused.status, refused.code, refused.message) == (
        422,
        "prompt_too_long",
        "The prompt has 50 tokens and the answer may have 20, but there is memory for 60 only.",
    )
    assert isinstance(served, Finished)


def with_bad_token(model: "LoadedModel") -> "LoadedModel":
    """The model with an embedding that is not a number, of token 400."""
    import torch

    embeddings = model.network.get_input_embeddings()
    with torch.no_grad():
        embeddings.weight = torch.nn.Parameter(embeddings.weight.clone())
        embeddings.weight[400] = torch.nan
    return model


@pytest.mark.parametrize("chunk", [2, 64])
def test_numbers_that_are_not_finite_end_one_request_only(tiny: Tiny, chunk: int) -> None:
    model = with_bad_token(load(tiny, "llama"))
    healthy = [Prompt(tuple(5 + place % 60 for place in range(length)), max_new=9) for length in (4, 30, 11, 40, 22)]
    bad = Prompt((5, 400, 6), max_new=9)
    requests = [request(prompt) for prompt in (*healthy[:2], bad, *healthy[2:])]
    ends = run(make(model, rows=2, chunk=chunk), requests)
    failed = ends.pop(2)
    assert isinstance(failed, ServiceError)
    assert (failed.status, failed.code) == (500, "non_finite_output")
    assert ends == [generated(model, prompt) for prompt in healthy]


def test_a_prompt_that_cannot_be_read_ends_alone(model: "LoadedModel", monkeypatch: pytest.MonkeyPatch) -> None:
    from services.engine.continuous.network import Network

    original = Network.read

    def lack_memory(self: Network, tokens: Any, *where: Any) -> Any:
        if len(tokens[0]) > 50:
            raise MemoryError
        return original(self, tokens, *where)

    monkeypatch.setattr(Network, "read", lack_memory)
    asked = [prompt_of(9, max_new=20), prompt_of(60), prompt_of(12)]
    first, second, third = run(make(model, chunk=100), [request(prompt) for prompt in asked])
    assert isinstance(second, ServiceError)
    assert (second.status, second.code) == (503, "out_of_memory")
    assert [first, third] == [generated(model, asked[0]), generated(model, asked[2])]


def test_of_prompts_that_are_read_together_only_those_end_that_cannot_be_read(
    model: "LoadedModel", monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.engine.continuous.network import Network

    original = Network.read
    together = []

    def refuse(self: Network, tokens: Any, *where: Any) -> Any:
        together.append(len(tokens))
        if any(999 in row for row in tokens):
            raise IndexError
        return original(self, tokens, *where)

    monkeypatch.setattr(Network, "read", refuse)
    asked = [Prompt((*range(20, 30), last), max_new=6) for last in (40, 999, 41, 42)]
    ends = run(make(model), [request(prompt) for prompt in asked])
    assert together[0] == 4
    failed = ends.pop(1)
    assert isinstance(failed, ServiceError)
    assert (failed.status, failed.code) == (500, "generation_failed")
    assert ends == [generated(model, prompt) for prompt in (asked[0], *asked[2:])]


def test_the_longest_row_ends_when_there_is_no_memory_for_it_to_grow(
    model: "LoadedModel", monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.engine.continuous import cache
    from services.engine.loading.one_token import PAGE

    original = cache._room_for_values

    def lack_memory(states: Any, slots: int, capacity: int) -> Any:
        if capacity > PAGE:  # in the middle of a layer
            raise MemoryError
        return original(states, slots, capacity)

    monkeypatch.setattr(cache, "_room_for_values", lack_memory)
    asked = [prompt_of(20, max_new=9), Prompt(tuple(range(20, 70)), max_new=90, min_new=90), prompt_of(30, max_new=30)]
    first, second, third = run(make(model), [request(prompt) for prompt in asked])
    assert isinstance(second, ServiceError)
    assert (second.status, second.code) == (503, "out_of_memory")
    assert [first, third] == [generated(model, asked[0]), generated(model, asked[2])]


def test_after_a_reset_everything_begins_anew(model: "LoadedModel") -> None:
    recorder = Recorder()
    runner = make(model)(recorder.host)
    for prompt in prompts(5):
        runner.add(Job(request(prompt)))
    runner.step()
    runner.reset()
    assert (runner.busy, runner.occupancy.rows, runner.occupancy.cached_tokens) == (False, 0, 0)
    job = Job(request(prompt_of(9)))
    assert finish(runner, recorder, [job]) == [generated(model, prompt_of(9))]


_PROMPTS = st.builds(
    Prompt,
    st.lists(st.integers(5, 250), min_size=1, max_size=80).map(tuple),
    max_new=st.integers(1, 8),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrivals=st.lists(st.lists(_PROMPTS, min_size=1, max_size=2), min_size=1, max_size=7),
    rows=st.integers(1, 6),
    chunk=st.integers(1, 100),
    seed=st.integers(0, 1000),
    cancelled=st.sets(st.integers(0, 7)),
)
def test_whoever_comes_whenever_and_leaves(
    model: "LoadedModel", arrivals: list[list[Prompt]], rows: int, chunk: int, seed: int, cancelled: set[int]
) -> None:
    requests = [request(*each) for each in arrivals]
    gone = [index for index in cancelled if index < len(requests)]
    ends = staggered(
        make(model, rows=rows, tokens=rows * 100, chunk=chunk, prefix_bytes=10**5), requests, seed=seed, cancelled=gone
    )
    for index, (each, end) in enumerate(zip(requests, ends, strict=True)):
        if end is None:
            assert index in gone
        else:
            assert end == joined([generated(model, prompt) for prompt in each.prompts])


_SYSTEMS = (*(prompt_of(length).ids for length in (20, 40, 64, 100)), tuple(range(9, 79)))

_TASKS = st.builds(
    lambda system, cut, rest, most: Prompt((*system[:cut], *rest), max_new=most),
    st.sampled_from(_SYSTEMS),
    st.integers(20, 100),
    st.lists(st.integers(5, 250), min_size=1, max_size=20).map(tuple),
    st.integers(1, 8),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(_TASKS, min_size=2, max_size=9),
    rows=st.integers(1, 6),
    chunk=st.integers(1, 100),
    seed=st.integers(0, 1000),
    prefix_bytes=st.sampled_from((0, 10**4, 10**7)),
    cancelled=st.sets(st.integers(0, 8)),
)
def test_prompts_that_begin_alike_come_whenever_and_leave(
    model: "LoadedModel",
    read: list[int],
    asked: list[Prompt],
    rows: int,
    chunk: int,
    seed: int,
    prefix_bytes: int,
    cancelled: set[int],
) -> None:
    read.clear()
    gone = [index for index in cancelled if index < len(asked)]
    start = make(model, rows=rows, tokens=rows * 130, chunk=chunk, prefix_bytes=prefix_bytes)
    ends = staggered(start, [request(prompt) for prompt in asked], seed=seed, cancelled=gone)
    for index, (prompt, end) in enumerate(zip(asked, ends, strict=True)):
        assert end == generated(model, prompt) or (end is None and index in gone)
    if not gone and prefix_bytes == 10**7:
        seen = [
            max((shared(each.ids, other.ids) for other in asked[:place]), default=0) for place, each in enumerate(asked)
        ]
        assert sum(read) == sum(len(each.ids) for each in asked) - sum(seen)
