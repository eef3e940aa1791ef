"""Rows in transformers' paged cache get what they get alone. On the processor: here no GPU is at hand."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Prompt
from services.errors import ServiceError
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import Recorder, finish, run
from tests.services.engine.static.networks import load_any
from tests.services.engine.static.test_runner import BEAMS, GREEDY, SAMPLED, generated, prompts, request

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel
    from services.engine.paged import PagedRunner

pytestmark = pytest.mark.unit


def make(model: "LoadedModel", *, rows: int = 5, tokens: int = 1024) -> Callable[[GenerationHost], "PagedRunner"]:
    def start(host: GenerationHost) -> "PagedRunner":
        from services.engine.paged import start_paged
        from services.engine.static.runner import StaticRunner

        return start_paged(model, host, rows=rows, tokens=tokens, beams=StaticRunner(model, host), page=16)

    return start


@pytest.mark.parametrize("name", ["llama", "smollm3", "mistral", "gpt2"])
def test_greedy_answers_are_those_of_generate_alone(tiny: Tiny, name: str) -> None:
    model = load_any(tiny, name)
    given = prompts(12)
    how = [replace(GREEDY, repetition_penalty=1.2) if place % 3 == 0 else GREEDY for place in range(12)]
    expected = [generated(model, prompt, sampling) for prompt, sampling in zip(given, how, strict=True)]
    threads = threading.active_count()
    asked = [request(prompt, sampling=sampling) for prompt, sampling in zip(given, how, strict=True)]
    assert run(make(model), asked) == expected
    assert threading.active_count() <= threads  # those of other tests may end meanwhile


def test_a_network_that_does_not_fit_is_refused_with_the_reason(tiny: Tiny) -> None:
    from services.engine.continuous.network import UnfitError

    def wander(_network: Any, _given: Any, output: Any) -> None:
        output.logits[:, :, 7] += output.logits.shape[1] == 2  # when two rows write

    def lose(_network: Any, _given: Any) -> None:
        raise MemoryError

    unfit = {"eager": load_any(tiny, "gemma2"), "else": load(tiny, "llama"), "MemoryError": load(tiny, "llama")}
    unfit["else"].network.register_forward_hook(wander)
    unfit["MemoryError"].network.register_forward_pre_hook(lose)
    for reason, model in unfit.items():
        with pytest.raises(UnfitError, match=reason):
            make(model)(Recorder().host)


def test_sampled_answers_do_not_depend_on_their_neighbours(tiny: Tiny) -> None:
    model = load(tiny, "llama")
    several = replace(SAMPLED, num_return_sequences=3)
    asked = [
        request(prompt, sampling=several if place % 2 else SAMPLED, seed=place, stream=place < 2)
        for place, prompt in enumerate(prompts(4))
    ]
    together = run(make(model), asked)
    assert together == [run(make(model), [each])[0] for each in asked]
    assert len({text for end in together if isinstance(end, Finished) for text in end.texts[0]}) > 4


def test_rows_that_the_cache_cannot_hold_together_take_turns(tiny: Tiny) -> None:
    model = load(tiny, "llama")
    given = [Prompt(tuple(range(5, 65)), max_new=30, min_new=30), Prompt(tuple(range(9, 69)), max_new=30, min_new=30)]
    expected = [generated(model, prompt, GREEDY) for prompt in given]
    assert run(make(model, tokens=128), [request(prompt) for prompt in given]) == expected


def test_beams_and_stop_texts_and_batch_sizes(tiny: Tiny) -> None:
    model = load(tiny, "llama")
    given = prompts(4)
    whole = [generated(model, prompt, GREEDY).texts[0][0] for prompt in given]
    stop = whole[3][len(whole[3]) // 2 :][:1]
    asked: list[GenerationRequest] = [
        request(given[0], sampling=BEAMS),
        request(*given, batch_size=1, stream=False),
        request(given[3], sampling=replace(GREEDY, stop=(stop,))),
    ]
    beams, several, stopped = run(make(model), asked)
    assert beams == generated(model, given[0], BEAMS)
    assert isinstance(several, Finished)
    assert [texts[0] for texts in several.texts] == whole
    assert isinstance(stopped, Finished)
    assert stopped.texts == ((whole[3].split(stop)[0],),)
    assert stopped.finish_reasons == (("stop",),)


def test_a_cancelled_request_leaves_at_the_next_step_and_changes_nothing(tiny: Tiny) -> None:
    model = load(tiny, "llama")
    given = [replace(prompt, max_new=15, min_new=15) for prompt in prompts(4)]
    recorder = Recorder()
    runner = make(model)(recorder.host)
    jobs = [Job(request(prompt)) for prompt in given]
    for job in jobs:
        runner.add(job)
    for _ in range(4):
        runner.step()
    jobs[1].cancelled = True
    runner.step()
    assert runner.occupancy.rows == 3
    finish(runner, recorder, [])
    assert [recorder.ends.get(job) for job in jobs] == [
        None if place == 1 else generated(model, prompt, GREEDY) for place, prompt in enumerate(given)
    ]


def test_a_prompt_that_the_cache_cannot_hold_is_refused(tiny: Tiny) -> None:
    (end,) = run(make(load(tiny, "llama"), tokens=64), [request(Prompt(tuple(range(5, 65)), max_new=30))])
    assert isinstance(end, ServiceError)
    assert (end.status, end.code) == (422, "prompt_too_long")


def test_numbers_that_are_not_finite_end_their_own_request_only(tiny: Tiny) -> None:
    import torch

    model = load(tiny, "llama")
    given = [Prompt(tuple(range(5, 9 + place)), max_new=6, min_new=6) for place in range(3)]
    asked = [request(prompt) for prompt in given]
    expected = [generated(model, prompt, GREEDY) for prompt in given]
    recorder = Recorder()
    runner = make(model)(recorder.host)

    def spoil(_network: Any, _given: Any, output: Any) -> None:
        output.logits[0, 1 if output.logits.shape[1] == 3 else slice(0)] = torch.nan

    model.network.register_forward_hook(spoil)
    ends = finish(runner, recorder, [Job(each) for each in asked])
    assert [ends[0], ends[2]] == [expected[0], expected[2]]
    assert isinstance(ends[1], ServiceError)
    assert ends[1].code == "non_finite_output"


def test_after_a_failure_the_runner_begins_anew(tiny: Tiny) -> None:
    model = load(tiny, "llama")
    recorder = Recorder()
    runner = make(model)(recorder.host)
    prompt = Prompt((5, 6, 7), max_new=9, min_new=9)
    runner.add(Job(request(prompt)))
    runner.step()

    def fail(*_: Any) -> None:
        raise MemoryError

    hook = model.network.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        runner.step()
    hook.remove()
    runner.reset()
    assert (runner.busy, runner.occupancy.rows) == (False, 0)
    assert finish(runner, recorder, [Job(request(prompt))]) == [generated(model, prompt, GREEDY)]
