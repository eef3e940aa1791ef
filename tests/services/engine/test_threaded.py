"""One request's misfortune is its own: the engine's thread lives on, and what hangs is noticed."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.engine import threaded
from services.engine.base import AnyHost, AnyRunner, Finished, GenerationRequest, Job, Occupancy, Piece, Prompt
from services.engine.failure import UNEXPECTED
from services.engine.sampling.parameters import Sampling
from services.engine.threaded import ThreadEngine
from services.errors import ServiceError
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load

pytestmark = pytest.mark.unit

REQUEST = GenerationRequest((Prompt((5, 6, 7), max_new=4),), Sampling(do_sample=False), seed=1)
ENDLESS = GenerationRequest((Prompt((5, 6, 7), max_new=200, min_new=200),), Sampling(do_sample=False), seed=1)


class Rig:
    """An engine over a tiny model, and the exit codes it asked for."""

    def __init__(self, tiny: Tiny) -> None:
        self.model = load(tiny, "gpt2")
        self.ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.engine = ThreadEngine(self._make, max_queue_length=4, on_end=self.ended.put)

    def _make(self, host: AnyHost) -> AnyRunner:
        from services.engine.static.runner import StaticRunner

        runner = StaticRunner(self.model, host)
        runner.warm_up()
        return runner

    def fail_once(self, error: Exception) -> None:
        """The next generation raises, the ones after it do not."""
        network: Any = self.model.network
        generate = network.generate

        def fail(*_: Any, **__: Any) -> None:
            network.generate = generate
            raise error

        network.generate = fail


@pytest.fixture
async def rig(tiny: Tiny) -> Rig:
    rig = Rig(tiny)
    rig.engine.start()
    rig.engine.start()
    while rig.engine.readiness.stage != "ready":  # noqa: ASYNC110 - the engine tells its state, not its changes
        await asyncio.sleep(0.01)
    return rig


async def answer(rig: Rig, request: GenerationRequest = REQUEST) -> Finished:
    events = [event async for event in rig.engine.submit(request).events()]
    *pieces, finished = events
    assert isinstance(finished, Finished)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == finished.texts[0][0]
    return finished


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MemoryError(), 503, "out_of_memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            503,
            "out_of_memory",
        ),
        (RuntimeError("a secret of the library"), 500, "generation_failed"),
    ],
)
async def test_a_failed_request_leaves_the_engine_alive(rig: Rig, error: Exception, status: int, code: str) -> None:
    before = await answer(rig)
    rig.fail_once(error)
    with pytest.raises(ServiceError) as caught:
        await answer(rig)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "secret" not in caught.value.message
    assert (caught.value.retry_after_s is not None) == (status == 503)
    assert await answer(rig) == before
    assert rig.ended.empty()


async def test_a_cancelled_request_stops_and_one_that_waits_is_forgotten(rig: Rig) -> None:
    running, waiting = rig.engine.submit(ENDLESS), rig.engine.submit(ENDLESS)
    async with contextlib.aclosing(running.events()) as events:
        assert isinstance(await anext(events), Piece)
        waiting.cancel()
    assert (await answer(rig)).completion_tokens == 4


async def test_a_request_that_is_left_before_anything_is_read_of_it_is_forgotten(rig: Rig) -> None:
    await rig.engine.submit(ENDLESS).events().aclose()
    await answer(rig)
    assert (rig.engine.tally.completion_tokens, rig.engine.running, rig.engine.waiting) == (4, 0, 0)


async def test_the_time_to_the_first_token_and_between_later_ones_is_counted(rig: Rig) -> None:
    await answer(rig)
    tally = rig.engine.tally
    assert [sum(times.counts) for times in (tally.first_tokens, tally.later_tokens)] == [1, 1]


async def test_a_full_queue_refuses_and_counts_what_comes(rig: Rig) -> None:
    rig.engine.check_queue(4)
    with pytest.raises(ServiceError) as refused:
        rig.engine.check_queue(5)
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    running = rig.engine.submit(ENDLESS)
    async with contextlib.aclosing(running.events()) as events:
        await anext(events)
        waiting = [rig.engine.submit(ENDLESS) for _ in range(3)]
        rig.engine.check_queue()
        with pytest.raises(ServiceError, match="4 requests already wait"):
            rig.engine.check_queue(1)
        for generation in waiting:
            generation.cancel()
        rig.engine.check_queue(3)


async def test_a_computation_that_ignores_its_end_ends_the_process(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "HANG_S", 0)
    inside, leave = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        inside.set()
        leave.wait()

    monkeypatch.setattr(rig.model.network, "generate", hang)
    generation = rig.engine.submit(REQUEST)
    await asyncio.to_thread(inside.wait)
    generation.cancel()
    assert await asyncio.to_thread(rig.ended.get) == UNEXPECTED
    leave.set()


async def test_a_model_that_cannot_be_loaded() -> None:
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def fail(_host: AnyHost) -> AnyRunner:
        raise RuntimeError("a secret of the library")

    engine = ThreadEngine(fail, max_queue_length=4, on_end=ended.put)
    engine.start()
    assert await asyncio.to_thread(ended.get) == UNEXPECTED
    message = "the model could not be loaded; the lines above say where"
    assert (engine.readiness.stage, engine.readiness.message) == ("failed", message)


class Scripted:
    """A runner without a model: each step does the next of these things to the job that runs."""

    occupancy = Occupancy()

    def __init__(self, host: AnyHost, *steps: Callable[[AnyHost, Job[Any]], None]) -> None:
        self._host, self._steps = host, list(steps)
        self.jobs: list[Job[Any]] = []

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def accepts(self, _request: object) -> bool:
        return not self.jobs

    def add(self, job: Job[Any]) -> None:
        self.jobs.append(job)

    def step(self) -> None:
        self._steps.pop(0)(self._host, self.jobs[0])
        if not self._steps:
            self.reset()

    def reset(self) -> None:
        self.jobs.clear()


FINISHED = Finished((("abc",),), (("stop",),), completion_tokens=3)


def write(text: str) -> Callable[[AnyHost, Job[Any]], None]:
    return lambda host, job: host.emit([(job, Piece(0, 0, text)), (job, Piece(0, 1, text.upper()))])


async def test_a_slow_reader_gets_one_piece_a_sequence_of_all_that_came() -> None:
    written = threading.Event()

    def finish(host: AnyHost, job: Job[Any]) -> None:
        host.emit([(job, FINISHED)])
        written.set()

    engine = ThreadEngine(
        lambda host: Scripted(host, write("a"), write("b"), write("c"), finish),
        max_queue_length=4,
        on_end=lambda _code: None,
    )
    engine.start()
    events = engine.submit(REQUEST).events()
    await asyncio.to_thread(written.wait)
    await asyncio.sleep(0)  # the loop hears of the last step
    assert [event async for event in events] == [Piece(0, 0, "abc"), Piece(0, 1, "ABC"), FINISHED]
    assert (engine.running, engine.tally.completion_tokens, sum(engine.tally.waits.counts)) == (0, 3, 1)


async def test_a_request_that_the_runner_cannot_take_ends_alone() -> None:
    class Choosy(Scripted):
        def add(self, job: Job[Any]) -> None:
            super().add(job)
            if not job.request.prompts:
                raise ZeroDivisionError

        def step(self) -> None:
            if self.jobs[0].cancelled:
                self.reset()
            else:
                super().step()

    engine = ThreadEngine(
        lambda host: Choosy(host, lambda host, job: host.emit([(job, FINISHED)])),
        max_queue_length=4,
        on_end=lambda _code: None,
    )
    engine.start()
    with pytest.raises(ServiceError, match="The model failed"):
        _ = [event async for event in engine.submit(replace(REQUEST, prompts=())).events()]
    assert [event async for event in engine.submit(REQUEST).events()] == [FINISHED]
    assert engine.running == 0


async def test_a_runner_that_breaks_outside_a_step_ends_the_process() -> None:
    class Broken(Scripted):
        def accepts(self, _request: object) -> bool:
            raise ZeroDivisionError

    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    engine = ThreadEngine(Broken, max_queue_length=4, on_end=ended.put)
    engine.start()
    engine.submit(REQUEST)
    assert await asyncio.to_thread(ended.get) == UNEXPECTED
    message = "the engine failed; the lines above say where"
    assert (engine.readiness.stage, engine.readiness.message) == ("failed", message)
