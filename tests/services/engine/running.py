"""Has a runner do requests without an engine, and keeps what it emits."""

from collections.abc import Callable, Sequence

from services.engine.base import (
    Finished,
    GenerationHost,
    GenerationRequest,
    GenerationRunner,
    Host,
    Job,
    Outcome,
    Piece,
)
from services.errors import ServiceError

MOST_STEPS = 5_000

End = Finished | ServiceError


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
