"""Has a ContinuousRunner do requests that come at any step, and asks `generate()` for what they should say."""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Prompt
from services.engine.sampling.parameters import Sampling
from tests.services.engine.running import MOST_STEPS, End, Recorder

if TYPE_CHECKING:
    from services.engine.continuous.runner import ContinuousRunner
    from services.engine.loading.generators import LoadedModel

GREEDY = Sampling(do_sample=False)
SAMPLED = Sampling(do_sample=True, temperature=0.9, top_p=0.95, top_k=50)

Make = Callable[[GenerationHost], "ContinuousRunner"]


class _NoBeams:
    """A Runner that never has anything to do."""

    busy = False

    def reset(self) -> None:
        pass


def prompts(count: int, *, seed: int = 1, longest: int = 70, most: int = 14) -> list[Prompt]:
    """Of different lengths, asking for different lengths."""
    chance = random.Random(seed)
    return [
        Prompt(
            tuple(chance.randrange(5, 250) for _ in range(chance.randrange(1, longest))),
            max_new=chance.randrange(1, most),
        )
        for _ in range(count)
    ]


def request(*given: Prompt, sampling: Sampling = GREEDY, seed: int = 1, **how: Any) -> GenerationRequest:
    return GenerationRequest(given, sampling, seed, **how)


def make(
    model: "LoadedModel", *, rows: int = 8, tokens: int = 4096, chunk: int | None = None, prefix_bytes: int = 0
) -> Make:
    """A factory of runners. chunk: tokens of a prompt that are read at once, however fast that is."""
    from services.engine.continuous.cache import Block
    from services.engine.continuous.network import Network
    from services.engine.continuous.prefixes import Prefixes
    from services.engine.continuous.runner import ContinuousRunner
    from services.engine.continuous.scheduler import Limits, Pace

    class Fixed(Pace):
        def note(self, tokens: int, seconds: float) -> None:
            pass

    def start(host: GenerationHost) -> ContinuousRunner:
        beams: Any = _NoBeams()
        pace = Fixed() if chunk else Pace()
        pace.tokens = chunk or pace.tokens
        prefixes: Prefixes[Block] = Prefixes(prefix_bytes)
        limits = Limits(rows, tokens)
        network = Network(model.network)
        return ContinuousRunner(model, network, host, limits=limits, beams=beams, prefixes=prefixes, pace=pace)

    return start


def staggered(
    start: Make,
    requests: Sequence[GenerationRequest],
    *,
    seed: int = 1,
    cancelled: Sequence[int] = (),
    watch: Callable[["ContinuousRunner"], None] = lambda _: None,
) -> list[End | None]:
    """The end of each request; they come at random steps, and those whose index is `cancelled` leave at random steps.

    watch: looks at the runner after every step.
    """
    chance = random.Random(seed)
    recorder = Recorder()
    runner = start(recorder.host)
    jobs = [Job(each) for each in requests]
    waiting = list(jobs)
    leaving = [jobs[index] for index in cancelled]
    for _ in range(MOST_STEPS):
        coming = chance.randrange(3)
        while waiting and coming and runner.accepts(waiting[0].request):
            runner.add(waiting.pop(0))
            coming -= 1
        if not waiting and not runner.busy:
            break
        runner.step()
        watch(runner)
        for job in leaving:
            job.cancelled |= job not in waiting and chance.random() < 0.2
    assert not waiting
    assert not runner.busy
    return [recorder.ends.get(job) for job in jobs]


def generated(model: "LoadedModel", prompt: Prompt) -> Finished:
    """What `generate()` says to a prompt alone, greedily."""
    import torch
    from transformers import GenerationConfig

    from services.engine.row import make_decode
    from services.engine.text import whole_text

    ids = torch.tensor([prompt.ids])
    config = GenerationConfig(max_new_tokens=prompt.max_new, do_sample=False)
    output = model.network.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    tokens: list[int] = output[0, len(prompt.ids) :].tolist()
    ends = [place for place, token in enumerate(tokens) if token in model.eos_token_ids]
    tokens = tokens[: ends[0] + 1] if ends else tokens
    text = whole_text(make_decode(model.tokenizer), tokens[:-1] if ends else tokens)
    return Finished(((text,),), (("stop" if ends else "length",),), len(tokens))
