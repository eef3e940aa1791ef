"""Generates for many requests at once: each joins the batch at the next token and leaves it when it is done."""

import time
from collections.abc import Sequence
from functools import partial

import torch

from services.engine.base import (
    GenerationHost,
    GenerationRequest,
    GenerationRunner,
    Job,
    Occupancy,
    Prompt,
)
from services.engine.continuous.cache import Block
from services.engine.continuous.network import Network
from services.engine.continuous.prefixes import BLOCK, Prefixes
from services.engine.continuous.scheduler import Limits, Pace, bounded, next_chunk
from services.engine.continuous.seats import Seat, Seats, needed
from services.engine.failure import beyond_cache, explain, not_finite
from services.engine.loading.generators import LoadedModel
from services.engine.row import make_decode
from services.engine.sampling.sampler import Sampler
from services.engine.works import Work, Works
from services.errors import ServiceError


class ContinuousRunner:
    """A Runner: one step reads a chunk of new prompts, if there are any, and gives every row that writes one token.

    beams: does the requests that search with beams, each in one step of its own.
    prefixes: what prompts begin with, so that it is read once.
    """

    def __init__(
        self,
        model: LoadedModel,
        network: Network,
        host: GenerationHost,
        *,
        limits: Limits,
        beams: GenerationRunner,
        prefixes: Prefixes[Block],
        pace: Pace | None = None,
    ) -> None:
        self._network = network
        self._cache = network.cache
        self._cache.limit = limits.tokens
        self._limits = limits
        self._beams = beams
        ends = frozenset(model.eos_token_ids)
        self._works = Works(host, decode=make_decode(model.tokenizer), ends=ends)
        self._sampler = Sampler(model.network.generation_config, ends)
        self._prefixes = prefixes
        self._pace = pace or Pace()
        self._seats = Seats(self._cache)
        self._occupancy = Occupancy(cache_tokens=limits.tokens)

    @property
    def busy(self) -> bool:
        return bool(self._works) or self._beams.busy

    @property
    def occupancy(self) -> Occupancy:
        return self._occupancy

    def accepts(self, request: GenerationRequest) -> bool:
        """Every earlier request has a row in the batch, and the first row of this one fits beside them."""
        if not self.busy:
            return True
        if any(not work.seated for work in self._works.unfinished):
            return False
        if request.sampling.num_beams > 1:
            return self._beams.accepts(request)
        return self._fits(request.prompts[0])

    def add(self, job: Job[GenerationRequest]) -> None:
        request = job.request
        if request.sampling.num_beams > 1:
            self._beams.add(job)
            return
        longest = max(request.prompts, key=needed)
        if needed(longest) > self._limits.tokens:
            self._works.fail(job, beyond_cache(len(longest.ids), longest.max_new, self._limits.tokens))
            return
        self._seat(self._works.add(job), 1)

    @torch.inference_mode()
    def step(self) -> None:
        for job in self._works.cancelled:
            self._works.drop(job)
            self._seats.dismiss(job)
        for work in self._works.unfinished:
            if not self._seat(work, work.at_once):
                break
        try:
            self._read()
            self._write()
        finally:
            self._report()
        if self._beams.busy:
            self._beams.step()

    def reset(self) -> None:
        self._works.clear()
        self._seats.clear()
        self._prefixes.clear()
        self._cache.reset()
        self._beams.reset()
        self._report()

    def _fits(self, prompt: Prompt) -> bool:
        return self._limits.hold(len(self._seats) + 1, max(self._seats.longest, needed(prompt)))

    def _seat(self, work: Work, at_once: int) -> bool:
        """Let the request's next rows into the batch, up to `at_once` together; False when one of them does not fit."""
        while work.waiting and work.seated < at_once:
            if not self._fits(work.waiting[0].prompt):
                return False
            self._seats.take(work.waiting.popleft())
            work.seated += 1
        return True

    def _read(self) -> None:
        """One chunk of the prompts that are not read yet, those of about the same length together."""
        reading = self._seats.reading
        if not reading:
            return
        try:
            seats, tokens = self._next_chunk(reading)
        except Exception as error:  # noqa: BLE001 - too little memory for what is kept of prompts; others go on
            explained = explain(error)
            for seat in reading:
                self._fail(seat.row.job, explained)
            return
        self._read_together(seats, tokens)

    def _read_together(self, seats: Sequence[Seat], tokens: Sequence[tuple[int, ...]]) -> None:
        """All in one pass; where that fails, one after the other, so that only those end that cannot be read."""
        try:
            logits = self._read_chunk(seats, tokens)
        except Exception as error:  # noqa: BLE001 - too little memory for a long prompt, say; others go on
            if len(seats) == 1:
                self._fail(seats[0].row.job, explain(error))
        else:
            self._begin(seats, logits)
            return
        if len(seats) > 1:  # out here the error, and with it what the failed pass held, is gone
            for seat, new in zip(seats, tokens, strict=True):
                if seat.row.job in self._works:
                    self._read_together([seat], [new])

    def _next_chunk(self, reading: Sequence[Seat]) -> tuple[list[Seat], list[tuple[int, ...]]]:
        """Who reads, and what."""
        ready = [seat for seat in reading if seat.begun or not self._awaits(seat)]
        tokens_at_once = bounded(self._pace.tokens, max(seat.length for seat in ready))
        chosen, width = next_chunk([seat.left for seat in ready], tokens_at_once)
        seats = [ready[index] for index in chosen]
        return seats, [seat.next_tokens(width) for seat in seats]

    def _read_chunk(self, seats: Sequence[Seat], tokens: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """The logits behind each row's last token."""
        self._cache.reserve(
            len(self._seats), max(seat.length + len(new) for seat, new in zip(seats, tokens, strict=True))
        )
        began = time.perf_counter()
        logits = self._network.read(tokens, [seat.slot for seat in seats], [seat.length for seat in seats])
        for seat, new in zip(seats, tokens, strict=True):
            seat.length += len(new)
            seat.begun = True
        self._pace.note(len(tokens) * max(map(len, tokens)), time.perf_counter() - began)
        return logits

    def _begin(self, seats: Sequence[Seat], logits: torch.Tensor) -> None:
        """Let those write that have read all of their prompts."""
        for seat, finite in zip(seats, logits.amax(-1).isfinite().tolist(), strict=True):
            if not finite:
                self._fail(seat.row.job, not_finite())
        places, writers = [], []
        for place, seat in enumerate(seats):
            if not seat.left and seat.row.job in self._works:
                self._prefixes.keep(seat.row.prompt.ids, partial(self._cache.cut, seat.slot))
                begun = self._seats.begin(seat)
                places += [place] * len(begun)
                writers += begun
        if writers:
            self._choose(logits[places], writers)

    def _awaits(self, seat: Seat) -> bool:
        """Whether an earlier row is about to read what this one begins with; what has been read it gets at once."""
        self._recall(seat)
        common = self._seats.common(seat)
        done = [other for other, count in common.items() if other.length >= count > seat.length]
        if done:
            other = max(done, key=common.__getitem__)
            self._cache.reserve(len(self._seats), common[other])
            self._cache.copy(other.slot, seat.slot, common[other], start=seat.length)
            seat.length = common[other]
        return any(count > seat.length for count in common.values())

    def _recall(self, seat: Seat) -> None:
        """What other prompts began with as well need not be read again."""
        blocks = self._prefixes.find(seat.row.prompt.ids)
        for number, block in enumerate(blocks[seat.length // BLOCK :], seat.length // BLOCK):
            self._cache.reserve(len(self._seats), len(blocks) * BLOCK)
            self._cache.paste(seat.slot, number * BLOCK, block)
            seat.length = (number + 1) * BLOCK

    def _write(self) -> None:
        """One token for every row that has read its prompt."""
        seats = self._seats.writing
        if not seats:
            return
        longest = max(seats, key=lambda seat: seat.length)
        try:
            self._cache.reserve(len(self._seats), longest.length + 1)
        except Exception as error:  # noqa: BLE001 - too little memory for the longest row; without it others go on
            self._fail(longest.row.job, explain(error))
            return
        lengths = [seat.length for seat in seats]
        logits = self._network.advance([seat.row.tokens[-1] for seat in seats], lengths)
        for seat in seats:
            seat.length += 1
        self._choose(logits, seats)

    def _choose(self, logits: torch.Tensor, seats: Sequence[Seat]) -> None:
        """Give each row its next token, and see what comes of it."""
        for seat, token in zip(seats, self._sampler.choose(logits, [seat.row for seat in seats]), strict=True):
            row, job = seat.row, seat.row.job
            if job not in self._works:  # another row of it has failed just now
                continue
            if token is None:
                self._fail(job, not_finite())
                continue
            self._works.push(row, token)
            if row.done:
                self._seats.leave(seat)
                self._works.leave(row)

    def _fail(self, job: Job[GenerationRequest], error: ServiceError) -> None:
        """End a job that cannot go on, unless another row of it has done so already, and clean up behind it."""
        if job in self._works:
            self._works.fail(job, error)
            self._seats.dismiss(job)
            self._seats.scrub()

    def _report(self) -> None:
        self._occupancy = Occupancy(len(self._seats), self._seats.tokens, self._limits.tokens)
        self._works.report()
