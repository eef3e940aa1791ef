"""Has a runner do requests without an engine, and keeps what it emits."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from services.engine import row
from services.engine.base import (
    Finished,
    GenerationHost,
    GenerationRequest,
    GenerationRunner,
    Host,
    Job,
    Outcome,
    Piece,
    Prompt,
)
from services.engine.sampling.parameters import Sampling
from services.engine.tally import Tally
from services.errors import ServiceError

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

MOST_STEPS = 5_000

End = Finished | ServiceError


def written(*counts: int, batch_size: int = 0) -> GenerationRequest:
    """Asks for so many tokens for each prompt, no fewer and no more."""
    prompts = tuple(Prompt((5, 6, 7), max_new=count, min_new=count) for count in counts)
    return GenerationRequest(prompts, Sampling(do_sample=False), seed=1, batch_size=batch_size)


RAGGED_AND_SERIAL = (written(*[2] * 7, 30), written(*[11] * 10, batch_size=1))
"""Lists whose sequences do not end together, and do not begin together."""


class Recorder:
    """What became of each job. on_emit: called after every step that says something."""

    def __init__(self, on_emit: Callable[[], None] = lambda: None) -> None:
        self.ends: dict[Job[GenerationRequest], End] = {}
        self.texts: dict[Job[GenerationRequest], dict[tuple[int, int], str]] = {}
        self.beats = 0
        self._on_emit = on_emit

    @property
    def host(self) -> GenerationHost:
        return Host(self._emit, self._beat)

    def _beat(self) -> None:
        self.beats += 1

    def _emit(self, outcomes: Sequence[Outcome[GenerationRequest, Piece | Finished]]) -> None:
        for job, event in outcomes:
            assert job not in self.ends, "nothing follows a job's end"
            if isinstance(event, Piece):
                texts = self.texts.setdefault(job, {})
                place = (event.prompt, event.sequence)
                texts[place] = texts.get(place, "") + event.text
            else:
                self.ends[job] = event
        self._on_emit()


def run(make: Callable[[GenerationHost], GenerationRunner], requests: Sequence[GenerationRequest]) -> list[End]:
    """The end of each request; all wait from the beginning. A streamed request's pieces must join to its texts."""
    recorder = Recorder()
    runner = make(recorder.host)
    return finish(runner, recorder, [Job(request) for request in requests])


def finish(runner: GenerationRunner, recorder: Recorder, jobs: Sequence[Job[GenerationRequest]]) -> list[End]:
    """Feed the jobs to the runner as it accepts them, and step until all of them have ended."""
    waiting = list(jobs)
    for _ in range(MOST_STEPS):
        while waiting and (not runner.busy or runner.accepts(waiting[0].request)):
            runner.add(waiting.pop(0))
        if not runner.busy:
            break
        runner.step()
    assert not waiting
    for job in jobs:
        end = recorder.ends[job]
        if isinstance(end, Finished) and job.request.stream:
            texts = recorder.texts.get(job, {})
            assert end.texts == tuple(
                tuple(texts.get((prompt, number), "") for number in range(len(sequences)))
                for prompt, sequences in enumerate(end.texts)
            )
    return [recorder.ends[job] for job in jobs]


def time_per_token(
    make: Callable[[GenerationHost], GenerationRunner],
    model: "LoadedModel",
    request: GenerationRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> float:
    """Seconds between two tokens as the metrics tell them, of a network that takes 10 ms whenever it is called."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    monkeypatch.setattr(row, "time", SimpleNamespace(monotonic=lambda: calls * 0.01))
    with model.network.register_forward_pre_hook(count):
        (end,) = run(make, [request])
    tally = Tally()
    tally.wrote(request, end)
    return tally.later_tokens.total
