"""An engine that answers one request after the other, first come, first served, with all of torch in one thread."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from services.engine.base import Finished, GenerationRequest, Piece, Prompt
from services.engine.failure import NO_MEMORY, UNEXPECTED, LoadError
from services.engine.sampling import Sampling
from services.errors import ServiceError
from services.wire import Readiness

if TYPE_CHECKING:
    from services.engine.decoding import Decoder
    from services.engine.loading import LoadedModel

_log = logging.getLogger(__name__)

HANG_S = 5.0
"""A computation that goes on this long after it was cancelled never ends."""

_Event = Piece | Finished | ServiceError


class SerialEngine:
    """Loads with `load` in its own thread and runs requests there; the Engine of this package.

    load: makes the model; a LoadError's message goes into `readiness`.
    on_end: told the exit code of a process that can serve no more: the model did not load, or a computation hangs.
    """

    def __init__(
        self,
        load: Callable[[], "LoadedModel"],
        *,
        max_queue_length: int,
        on_end: Callable[[int], None],
    ) -> None:
        self._load = load
        self._max_queue_length = max_queue_length
        self._on_end = on_end
        self._readiness = Readiness("loading")
        self._changed = threading.Condition()
        self._waiting: deque[_Generation] = deque()
        self._running: _Generation | None = None
        self._service_s = 1.0
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    @property
    def readiness(self) -> Readiness:
        return self._readiness

    def start(self) -> None:
        with self._changed:
            if self._thread.ident is None:
                self._thread.start()

    def check_queue(self, coming: int = 0) -> None:
        waiting = len(self._waiting) + coming
        if waiting >= self._max_queue_length + (self._running is None):
            raise ServiceError(
                503,
                "overloaded",
                f"{waiting} requests already wait for this model.",
                hint="Try again later, or raise `max_queue_length` in the file.",
                retry_after_s=max(1, round(self._service_s * (waiting + 1))),
            )

    def submit(self, request: GenerationRequest) -> "_Generation":
        generation = _Generation(request, self)
        with self._changed:
            self.check_queue()
            self._waiting.append(generation)
            self._changed.notify()
        return generation

    def cancel(self, generation: "_Generation") -> None:
        """From the event loop: forget a waiting request, or stop the running one."""
        with self._changed:
            if generation in self._waiting:
                self._waiting.remove(generation)
            elif generation is self._running:
                generation.loop.call_later(HANG_S, self._check_hang, generation)

    def _check_hang(self, generation: "_Generation") -> None:
        if self._running is generation:
            _log.error("the model did not stop within %g s after it was told to", HANG_S)
            self._on_end(UNEXPECTED)

    def _work(self) -> None:
        try:
            model = self._load()
            from services.engine.decoding import Decoder

            decoder = Decoder(model, cancelled=lambda: self._running is not None and self._running.cancelled)
            _warm_up(decoder)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the process must say why it cannot serve
            failure = _explain_failure(error)
            _log.error("%s", failure.message)
            self._readiness = Readiness("failed", message=failure.message)
            self._on_end(failure.exit_code)
            return
        self._readiness = Readiness("ready")
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._waiting)
                self._running = generation = self._waiting.popleft()
            started = time.monotonic()
            self._answer(decoder, generation)
            self._service_s += (time.monotonic() - started - self._service_s) / 8

    def _answer(self, decoder: "Decoder", generation: "_Generation") -> None:
        """Run one request; nothing that happens in it ends the thread."""
        from services.engine.decoding import CancelledError

        try:
            generation.deliver([_run(decoder, generation)])
        except CancelledError:
            pass
        except ServiceError as error:
            generation.deliver([error])
        except Exception as error:  # noqa: BLE001 - one request fails, the engine lives on
            generation.deliver([_explain(error)])


def _run(decoder: "Decoder", generation: "_Generation") -> Finished:
    request = generation.request
    texts, reasons, completion_tokens = [], [], 0
    for index, prompt in enumerate(request.prompts):
        decoder.check()

        def emit(pieces: list[tuple[int, str]], index: int = index) -> None:
            generation.deliver([Piece(index, sequence, text) for sequence, text in pieces if text])

        sequences, ended, tokens = decoder.run(prompt, request.sampling, request.seed + index, emit)
        texts.append(tuple(sequences))
        reasons.append(tuple(ended))
        completion_tokens += tokens
    return Finished(tuple(texts), tuple(reasons), completion_tokens)


def _warm_up(decoder: "Decoder") -> None:
    """Libraries import the rest of themselves at the first call; have that behind us."""
    try:
        decoder.run(Prompt((0,), max_new=2), Sampling(do_sample=False), 0, lambda _pieces: None)
    except ServiceError as error:  # each request will be told so
        _log.warning("the model loads, but does not work: %s", error.message)


def _explain_failure(error: Exception) -> LoadError:
    if isinstance(error, LoadError):
        return error
    _log.error("loading failed", exc_info=error)
    if _lacks_memory(error):
        return LoadError("there is not enough memory to load the model", NO_MEMORY)
    return LoadError("the model could not be loaded; the lines above say where", UNEXPECTED)


def _lacks_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _explain(error: Exception) -> ServiceError:
    if _lacks_memory(error):
        _log.error("out of memory while generating")
        return ServiceError(
            503,
            "out_of_memory",
            "There was not enough memory for this request.",
            hint='Shorten the prompt, or lower "max_output_length".',
            retry_after_s=1,
        )
    _log.error("generating failed", exc_info=error)
    return ServiceError(500, "generation_failed", "The model failed while it generated the answer.")


class _Generation:
    """One admitted request, between the engine's thread and the event loop."""

    def __init__(self, request: GenerationRequest, engine: SerialEngine) -> None:
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.cancelled = False
        self._engine = engine
        self._ended = False
        self._events: asyncio.Queue[_Event] = asyncio.Queue()

    def cancel(self) -> None:
        if not self._ended and not self.cancelled:
            self.cancelled = True
            self._engine.cancel(self)

    async def events(self) -> AsyncGenerator[Piece | Finished, None]:
        try:
            while True:
                event = await self._events.get()
                self._ended = not isinstance(event, Piece)
                if isinstance(event, ServiceError):
                    raise event
                yield event
                if self._ended:
                    return
        finally:
            self.cancel()

    def deliver(self, events: list[_Event]) -> None:
        """From the engine's thread: one call into the event loop for all of a step."""
        if events and not self.cancelled:
            self.loop.call_soon_threadsafe(self._receive, events)

    def _receive(self, events: list[_Event]) -> None:
        for event in events:
            self._events.put_nowait(event)
