"""Each request gets from a batch what it would get alone, whoever its neighbours are and whatever becomes of them."""

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Prompt
from services.engine.sampling.parameters import Sampling
from services.engine.text import whole_text
from services.errors import ServiceError
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import RAGGED_AND_SERIAL, Recorder, finish, run, time_per_token
from tests.services.engine.static.networks import DECODERS, ENCODER_DECODERS, load_any

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel
    from services.engine.static.runner import StaticRunner
    from tests.models import Architecture

pytestmark = pytest.mark.unit

GREEDY = Sampling(do_sample=False)
SAMPLED = Sampling(do_sample=True, temperature=0.9, top_p=0.95, top_k=50)
BEAMS = Sampling(do_sample=False, num_beams=3)


BATCHES = {"rwkv": 12, "phi3 with longrope": 11}
"""Of 12 prompts, where they do not all share one."""


def prompts(count: int, *, seed: int = 1, longest: int = 60) -> list[Prompt]:
    """Of different lengths, asking for different lengths."""
    chance = random.Random(seed)
    return [
        Prompt(
            tuple(chance.randrange(5, 250) for _ in range(chance.randrange(1, longest))),
            max_new=chance.randrange(1, 20),
            min_new=chance.randrange(0, 2),
        )
        for _ in range(count)
    ]


def request(*given: Prompt, sampling: Sampling = GREEDY, seed: int = 1, **how: Any) -> GenerationRequest:
    return GenerationRequest(given, sampling, seed, **how)


def generated(model: "LoadedModel", prompt: Prompt, sampling: Sampling) -> Finished:
    """What transformers' own `generate()` says to a prompt alone, without randomness."""
    import torch
    from transformers import GenerationConfig

    from services.engine.row import make_decode

    ids = torch.tensor([prompt.ids])
    beams = {"length_penalty": sampling.length_penalty} if sampling.num_beams > 1 else {}
    output = model.network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(
            max_new_tokens=prompt.max_new,
            min_new_tokens=prompt.min_new,
            do_sample=False,
            repetition_penalty=sampling.repetition_penalty,
            num_beams=sampling.num_beams,
            **beams,
        ),
    )
    tokens = output[0, 1 if model.room.encoder_decoder else len(prompt.ids) :].tolist()
    ends = [place for place, token in enumerate(tokens) if token in model.eos_token_ids]
    tokens = tokens[: ends[0] + 1] if ends else tokens
    text = whole_text(make_decode(model.tokenizer), tokens[:-1] if ends else tokens)
    return Finished(((text,),), (("stop" if ends else "length",),), len(tokens))


class Batches:
    """A runner over one model, and how many rows each of its batches had."""

    def __init__(self, model: "LoadedModel", **how: Any) -> None:
        self.model = model
        self.how = how
        self.rows: list[int] = []

    def __call__(self, host: GenerationHost) -> "StaticRunner":
        from services.engine.static.runner import StaticRunner

        runner = StaticRunner(self.model, host, **self.how)
        runner.warm_up()
        generate: Any = self.model.network.generate

        def count(ids: Any, **how: Any) -> Any:
            self.rows.append(len(ids))
            return generate(ids, **how)

        self.model.network.generate = count
        return runner


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
def test_greedy_answers_are_those_of_generate_alone(tiny: Tiny, name: str) -> None:
    model = load_any(tiny, name)
    given = prompts(12)
    penalised = replace(GREEDY, repetition_penalty=1.2)
    sampling = [penalised if place % 3 == 0 else GREEDY for place in range(12)]
    expected = [generated(model, prompt, how) for prompt, how in zip(given, sampling, strict=True)]
    batches = Batches(model)
    asked = [request(prompt, sampling=how) for prompt, how in zip(given, sampling, strict=True)]
    assert run(batches, asked) == expected
    assert sum(batches.rows) == 12
    assert len(batches.rows) == BATCHES.get(name, 1)


@pytest.mark.parametrize("name", ["gpt_neo", "blenderbot"])
def test_sampled_answers_do_not_depend_on_their_neighbours(tiny: Tiny, name: str) -> None:
    model = load_any(tiny, name)
    several = replace(SAMPLED, num_return_sequences=3)
    asked = [
        request(prompt, sampling=several if place % 2 else SAMPLED, seed=place)
        for place, prompt in enumerate(prompts(6))
    ]
    together = run(Batches(model), asked)
    assert together == [run(Batches(model), [each])[0] for each in asked]
    assert len({text for end in together if isinstance(end, Finished) for text in end.texts[0]}) > 6


@pytest.mark.parametrize("name", ["gpt2", "mamba", "blenderbot", "t5"])
def test_beams_find_what_generate_alone_finds(tiny: Tiny, name: str) -> None:
    model = load_any(tiny, name)
    given = [replace(prompt, max_new=9, min_new=1) for prompt in prompts(4)]
    given.append(replace(given[0], max_new=5))
    expected = [generated(model, prompt, BEAMS) for prompt in given]
    batches = Batches(model)
    assert run(batches, [request(prompt, sampling=BEAMS, stream=False) for prompt in given]) == expected
    assert batches.rows == [4, 1]


def test_sampled_beams_have_the_random_numbers_for_themselves(tiny: Tiny) -> None:
    model = load(tiny, "gpt2")
    sampling = replace(SAMPLED, num_beams=2, num_return_sequences=2)
    asked = [request(prompt, sampling=sampling, seed=4) for prompt in prompts(2)]
    assert run(Batches(model), asked) == [run(Batches(model), [each])[0] for each in asked]


def test_a_batch_holds_what_the_limits_allow(tiny: Tiny) -> None:
    """Prompts of a request up to its batch_size; answers that end within the context, those of neighbours included."""
    model = load(tiny, "gpt2")
    batches = Batches(model, rows=4)
    short = Prompt((5, 6, 7), max_new=2)
    asked = [request(*[short] * 5, batch_size=2, stream=False), request(*[short] * 5)]
    run(batches, asked)
    assert batches.rows == [2, 4, 4]

    model = load(tiny, "gpt2")
    given = [Prompt(tuple(range(5, 255)), max_new=6), Prompt((5, 6), max_new=20)]
    expected = [generated(model, prompt, GREEDY) for prompt in given]
    batches = Batches(model)
    assert run(batches, [request(prompt) for prompt in given]) == expected
    assert batches.rows == [1, 1]


def test_prompts_of_one_request_are_sorted_by_length(tiny: Tiny) -> None:
    batches = Batches(load(tiny, "gpt2"), rows=2)
    given = [Prompt(tuple(range(5, 5 + length)), max_new=3) for length in (4, 50, 5, 51)]
    (end,) = run(batches, [request(*given)])
    assert batches.rows == [2, 2]
    assert isinstance(end, Finished)
    assert end.texts == tuple(generated(batches.model, prompt, GREEDY).texts[0] for prompt in given)


@pytest.mark.parametrize("asked", RAGGED_AND_SERIAL, ids=["ragged", "serial"])
def test_the_time_between_tokens_is_that_of_each_sequence(
    tiny: Tiny, asked: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_any(tiny, "gpt_neo")
    assert time_per_token(Batches(model), model, asked, monkeypatch) == pytest.approx(0.01)


def test_a_long_prompt_is_read_in_pieces(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.engine.static import generation

    for name in ("smollm3", "mistral", "gpt_neo"):
        model = load(tiny, name)
        asked = [request(prompt) for prompt in prompts(5, longest=100)]
        recorder = Recorder()
        whole = finish(Batches(model)(recorder.host), recorder, [Job(each) for each in asked])
        beats, recorder = recorder.beats, Recorder()
        with monkeypatch.context() as patch:
            patch.setattr(generation, "PREFILL_CHUNK", 50)
            assert finish(Batches(model)(recorder.host), recorder, [Job(each) for each in asked]) == whole
        assert recorder.beats > beats


def test_a_cancelled_neighbour_changes_nothing(tiny: Tiny) -> None:
    model = load(tiny, "gpt_neo")
    given = [replace(prompt, max_new=15, min_new=15) for prompt in prompts(5)]
    jobs = [Job(request(prompt)) for prompt in given]
    steps = 0

    def cancel() -> None:
        nonlocal steps
        steps += 1
        jobs[1].cancelled = steps >= 3
        jobs[3].cancelled = steps >= 6

    recorder = Recorder(cancel)
    runner = Batches(model)(recorder.host)
    for job in jobs:
        runner.add(job)
    runner.step()
    assert not runner.busy
    assert [recorder.ends.get(job) for job in jobs] == [
        None if place in {1, 3} else generated(model, prompt, GREEDY) for place, prompt in enumerate(given)
    ]


@pytest.mark.parametrize("sampling", [GREEDY, BEAMS], ids=["token by token", "beams"])
def test_when_all_have_left_the_network_stops_within_a_layer(tiny: Tiny, sampling: Sampling) -> None:
    jobs = [Job(request(Prompt((5, 6, 7), max_new=200, min_new=200), sampling=sampling)) for _ in range(2)]
    recorder, model = Recorder(), load(tiny, "gpt2")
    runner = Batches(model)(recorder.host)
    for job in jobs:
        runner.add(job)
    beats = recorder.beats
    layers = 0

    def leave(*_: Any) -> None:
        nonlocal layers
        layers += 1
        for job in jobs:
            job.cancelled = layers >= 5

    model.network.transformer.h[0].register_forward_pre_hook(leave)
    runner.step()
    runner.step()
    assert not runner.busy
    assert layers == 5
    assert recorder.beats - beats < 20
    assert not recorder.ends


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, BEAMS], ids=["greedy", "sampled", "beams"])
def test_numbers_that_are_not_finite_end_their_own_request_only(tiny: Tiny, sampling: Sampling) -> None:
    import torch

    model = load(tiny, "gpt2")
    given = [Prompt(tuple(range(5, 9 + place)), max_new=9, min_new=9) for place in range(3)]
    asked = [request(prompt, sampling=sampling) for prompt in given]
    expected = run(Batches(model), asked)
    batches = Batches(model)
    recorder = Recorder()
    runner = batches(recorder.host)

    def spoil(_network: Any, _given: Any, output: Any) -> None:
        row = 1 if sampling.num_beams == 1 else slice(3, 6)
        output.logits[row] = torch.nan

    model.network.register_forward_hook(spoil)
    ends = finish(runner, recorder, [Job(each) for each in asked])
    assert [ends[0], ends[2]] == [expected[0], expected[2]]
    assert isinstance(ends[1], ServiceError)
    assert (ends[1].status, ends[1].code) == (500, "non_finite_output")
    assert batches.rows == [3]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, BEAMS], ids=["greedy", "sampled", "beams"])
@pytest.mark.parametrize("name", ["gpt2", "blenderbot"])
@pytest.mark.parametrize("passes", [0, 4])
def test_of_a_batch_that_fails_only_those_end_that_cannot_be_computed(
    tiny: Tiny, name: "Architecture", sampling: Sampling, passes: int
) -> None:
    model = load(tiny, name)
    given = [Prompt(tuple(range(5, 9 + place)), max_new=9, min_new=9) for place in range(4)]
    asked = [request(prompt, sampling=sampling) for prompt in given]
    expected = run(Batches(model), asked)
    batches = Batches(model)
    recorder = Recorder()
    runner = batches(recorder.host)
    generate, left = model.network.generate, [0]

    def begin(ids: Any, **how: Any) -> Any:
        alone = len(ids) == 1
        if alone and ids.shape[1] == len(given[2].ids):
            raise MemoryError
        left[0] = -1 if alone else passes
        return generate(ids, **how)

    def lack_memory(*_: Any) -> None:
        if left[0] == 0:
            raise MemoryError
        left[0] -= 1

    model.network.get_output_embeddings().register_forward_pre_hook(lack_memory)
    model.network.generate = begin
    ends = finish(runner, recorder, [Job(each) for each in asked])
    assert batches.rows == [4, 1, 1, 1]
    failed = ends.pop(2)
    assert isinstance(failed, ServiceError)
    assert failed.code == "out_of_memory"
    assert ends == [*expected[:2], expected[3]]


def test_a_forced_end_comes_when_each_row_is_as_long_as_it_may_be(tiny: Tiny) -> None:
    model = load(tiny, "blenderbot")
    given = [Prompt((7, 8, 9, 2), max_new=length, min_new=length) for length in (3, 6, 9)]
    ends = run(Batches(model), [request(prompt) for prompt in given])
    assert ends == [generated(model, prompt, GREEDY) for prompt in given]
    assert [end.finish_reasons for end in ends if isinstance(end, Finished)] == [(("stop",),)] * 3


@pytest.mark.parametrize("asked", ["no_repeat_ngram_size", "watermarking_config", "suppress_tokens"])
def test_what_the_repository_asks_for_is_done(tiny: Tiny, asked: str) -> None:
    from transformers import WatermarkingConfig

    model = load(tiny, "gpt2")
    given = [Prompt(tuple(range(5, 10 + place % 3)), max_new=30) for place in range(6)]
    plain = [generated(model, prompt, GREEDY) for prompt in given]
    likely = model.tokenizer.encode(plain[0].texts[0][0])[:3]
    values = {
        "no_repeat_ngram_size": 2,
        "watermarking_config": WatermarkingConfig(bias=20.0),
        "suppress_tokens": likely,
    }
    setattr(model.network.generation_config, asked, values[asked])
    expected = [generated(model, prompt, GREEDY) for prompt in given]
    assert expected != plain
    assert run(Batches(model), [request(prompt) for prompt in given]) == expected


def test_a_model_that_a_batch_changes_is_used_alone_and_that_is_said(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    model = load_any(tiny, "rwkv")
    Batches(model)(Recorder().host)
    assert "prompts are computed one at a time: a batch would change what the model says" in caplog.messages


def test_a_model_that_does_not_work_says_so_once_and_refuses_each_request(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    model = load(tiny, "gpt2")
    with torch.no_grad():
        model.network.transformer.ln_f.weight.fill_(torch.nan)
    (end,) = run(Batches(model), [request(Prompt((5, 6), max_new=3))])
    assert isinstance(end, ServiceError)
    assert end.code == "non_finite_output"
