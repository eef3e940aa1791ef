"""The queue and the thread in front of a runner: first come, first served, with all of torch in one thread."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from services.closing import Closing
from services.engine.base import AnyHost, AnyRunner, Host, Job, Occupancy, Outcome, Piece
from services.engine.failure import NO_MEMORY, UNEXPECTED, LoadError, explain, lacks_memory
from services.engine.tally import Tally
from services.errors import ServiceError
from services.wire import Readiness

_log = logging.getLogger(__name__)

HANG_S = 5.0
"""A computation that goes on this long without a sign of life, for a request that was cancelled, never ends."""


class ThreadEngine:
    """Loads a runner in its own thread and has it do requests there; the Engine of this package.

    load: makes the runner, in the engine's thread; a LoadError's message goes into `readiness`.
    on_end: told the exit code of a process that can serve no more: the model did not load, a computation hangs, or the
        runner is broken.
    """

    def __init__(
        self,
        load: Callable[[AnyHost], AnyRunner],
        *,
        max_queue_length: int,
        on_end: Callable[[int], None],
    ) -> None:
        self.tally = Tally()
        self._load = load
        self._max_queue_length = max_queue_length
        self._on_end = on_end
        self._readiness = Readiness("loading")
        self._changed = threading.Condition()
        self._waiting: deque[_Place] = deque()
        self._running: set[_Place] = set()
        self._runner: AnyRunner | None = None
        self._service_s = 1.0
        self._beat_s = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    @property
    def readiness(self) -> Readiness:
        return self._readiness

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that the runner does."""
        return len(self._running)

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy() if self._runner is None else self._runner.occupancy

    def start(self) -> None:
        with self._changed:
            if self._thread.ident is None:
                self._thread.start()

    def check_queue(self, coming: int = 0) -> None:
        waiting = len(self._waiting) + coming
        if waiting >= self._max_queue_length + (not self._running):
            raise ServiceError(
                503,
                "overloaded",
                f"{waiting} requests already wait for this model.",
                hint="Try again later, or raise `max_queue_length` in the file.",
                retry_after_s=max(1, round(self._service_s * (waiting + 1) / max(1, len(self._running)))),
            )

    def submit(self, request: Any) -> "_Place":
        place = _Place(request, self)
        with self._changed:
            self.check_queue()
            self._waiting.append(place)
            self._changed.notify()
        return place

    def cancel(self, place: "_Place") -> None:
        """From the event loop: forget a waiting request, or look whether a running one ends."""
        with self._changed:
            if place in self._waiting:
                self._waiting.remove(place)
            elif place in self._running:
                place.loop.call_later(HANG_S, self._check_hang, place)

    def _check_hang(self, place: "_Place") -> None:
        if place not in self._running:
            return
        still = time.monotonic() - self._beat_s
        if still < HANG_S:
            place.loop.call_later(HANG_S - still, self._check_hang, place)
            return
        _log.error("the model did not stop within %g s after it was told to", HANG_S)
        self._on_end(UNEXPECTED)

    def _work(self) -> None:
        try:
            self._runner = runner = self._load(Host(self._emit, self._beat))
            self._readiness = Readiness("ready")
            while True:
                self._admit(runner)
                self._step(runner)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the process must say why it cannot serve
            failure = _explain_end(error, loaded=self._runner is not None)
            _log.error("%s", failure.message)
            self._readiness = Readiness("failed", message=failure.message)
            self._on_end(failure.exit_code)

    def _admit(self, runner: AnyRunner) -> None:
        """Hand over, in their order, the requests that may join; wait for one when there is nothing else to do."""
        with self._changed:
            self._running = {place for place in self._running if not place.cancelled} if self._running else set()
            if not runner.busy:
                self._changed.wait_for(lambda: self._waiting)
            while self._waiting and runner.accepts(self._waiting[0].request):
                place = self._waiting.popleft()
                place.started_s = time.monotonic()
                self.tally.waits.add(place.started_s - place.submitted_s)
                self._running.add(place)
                self._add(runner, place)

    def _add(self, runner: AnyRunner, place: "_Place") -> None:
        """A request that the runner cannot take ends alone."""
        try:
            runner.add(place)
        except Exception as error:  # noqa: BLE001 - what was admitted before goes on
            self._emit([(place, explain(error))])
            place.cancelled = True  # so that the runner drops what it took in of it

    def _step(self, runner: AnyRunner) -> None:
        """One step; an exception in it ends the requests that run, and not the thread."""
        self._beat()
        began_s = self._beat_s
        try:
            runner.step()
        except Exception as error:  # noqa: BLE001 - what runs fails, the engine lives on
            runner.reset()
            explained = explain(error)
            self._emit([(place, explained) for place in self._running])
        self.tally.steps.add(time.monotonic() - began_s)

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def _emit(self, outcomes: Sequence[Outcome[Any, Any]]) -> None:
        """From the engine's thread: one call into the event loop for all of a step."""
        heard = [(job, event) for job, event in outcomes if isinstance(job, _Place) and not job.cancelled]
        for place, event in heard:
            if not isinstance(event, Piece):
                self._note_end(place, event)
        if heard:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends, and nobody listens
                heard[0][0].loop.call_soon_threadsafe(_receive, heard)

    def _note_end(self, place: "_Place", end: Any) -> None:
        now_s = time.monotonic()
        self._running.discard(place)
        self._service_s += (now_s - place.started_s - self._service_s) / 8
        if not isinstance(end, ServiceError):
            self.tally.finished(place.request, end)
            if place.first_token_s is not None:
                self.tally.first_tokens.add(place.first_token_s - place.submitted_s)
                self.tally.wrote(place.request, end)


def _receive(outcomes: Sequence[tuple["_Place", Any]]) -> None:
    for place, event in outcomes:
        place.receive(event)


def _explain_end(error: Exception, *, loaded: bool) -> LoadError:
    if isinstance(error, LoadError):
        return error
    if loaded:
        _log.error("the engine failed", exc_info=error)
        return LoadError("the engine failed; the lines above say where", UNEXPECTED)
    _log.error("loading failed", exc_info=error)
    if lacks_memory(error):
        return LoadError("there is not enough memory to load the model", NO_MEMORY)
    return LoadError("the model could not be loaded; the lines above say where", UNEXPECTED)


class _Place(Job[Any]):
    """One admitted request, between the engine's thread and the event loop, where its reader may be slow.

    What comes while nobody reads is kept as one text a sequence, so that it takes no more room than the answer does.
    """

    def __init__(self, request: Any, engine: ThreadEngine) -> None:
        super().__init__(request)
        self.loop = asyncio.get_running_loop()
        self.submitted_s = time.monotonic()
        self.started_s = 0.0
        self._engine = engine
        self._texts: dict[tuple[int, int], list[str]] = {}
        self._end: Any = None
        self._news = asyncio.Event()

    def cancel(self) -> None:
        if self._end is None and not self.cancelled:
            self.cancelled = True
            self._engine.cancel(self)

    def events(self) -> AsyncGenerator[Any, None]:
        return Closing(self._events(), self.cancel)

    async def _events(self) -> AsyncGenerator[Any, None]:
        try:
            while self._end is None or self._texts:
                await self._news.wait()
                self._news.clear()
                texts, self._texts = self._texts, {}
                for (prompt, sequence), parts in texts.items():
                    yield Piece(prompt, sequence, "".join(parts))
            if isinstance(self._end, ServiceError):
                raise self._end
            yield self._end
        finally:
            self.cancel()

    def receive(self, event: Any) -> None:
        """In the event loop: what came of the request."""
        if isinstance(event, Piece):
            self._texts.setdefault((event.prompt, event.sequence), []).append(event.text)
        else:
            self._end = event
        self._news.set()
