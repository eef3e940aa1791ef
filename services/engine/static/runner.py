"""Does what waits in batches of `generate()`; the next batch begins when all of one are done."""

import logging
from collections.abc import Sequence
from functools import cached_property

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Occupancy, Outcome, Piece
from services.engine.continuous.memory import ROWS, affordable_tokens
from services.engine.continuous.network import scales_with_longest
from services.engine.failure import explain, not_finite
from services.engine.loading.generators import LoadedModel
from services.engine.row import Answer, Row, make_decode
from services.engine.static.batch import Limits, Unit, next_batch, units_of
from services.engine.static.generation import Generator, reads_padding
from services.engine.static.proof import prove
from services.errors import ServiceError

_log = logging.getLogger(__name__)

_ENCODER_TOKENS = 4096
"""Tokens that an encoder reads at once; of more, one layer would go on for seconds after a cancel."""


class NobodyWaitsError(Exception):
    """Ends a computation that nobody waits for any more."""


class StaticRunner:
    """A Runner: one step is one batch, from the first token to the last.

    rows: sequences computed together at most. coarse: the model's weights have 8 bits.
    """

    def __init__(self, model: LoadedModel, host: GenerationHost, *, rows: int = ROWS, coarse: bool = False) -> None:
        self._model = model
        self._host = host
        self._most = rows
        self._coarse = coarse
        self._decode = make_decode(model.tokenizer)
        self._ends = frozenset(model.eos_token_ids)
        self._generator = Generator(model, self._check)
        self._answers: dict[Job[GenerationRequest], Answer] = {}
        self._waiting: list[Unit] = []
        self._batch: list[Unit] = []
        self._outcomes: list[Outcome[GenerationRequest, Piece | Finished]] = []

    @property
    def busy(self) -> bool:
        return bool(self._answers)

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(rows=sum(unit.width for unit in self._batch))

    def accepts(self, request: GenerationRequest) -> bool:  # noqa: ARG002 - whatever it is, it waits for its turn
        """Not more than make up the next batch: what waits longer should wait where it is counted."""
        return sum(unit.width for unit in self._waiting) < self._most

    def add(self, job: Job[GenerationRequest]) -> None:
        answer = self._answers[job] = Answer(job, decode=self._decode, ends=self._ends)
        self._waiting += units_of(answer.rows)

    def step(self) -> None:
        self._forget_cancelled()
        if not self._waiting:
            return
        batch = next_batch(self._waiting, self._limits)
        chosen = set(map(id, batch))
        self._waiting = [unit for unit in self._waiting if id(unit) not in chosen]
        try:
            self._compute_together(batch)
        finally:
            self._batch = []
            self._emit()
            self._forget_cancelled()

    def reset(self) -> None:
        self._answers.clear()
        self._waiting.clear()
        self._outcomes.clear()

    def warm_up(self) -> None:
        """Let libraries import the rest of themselves, and see what may be computed together."""
        try:
            _ = self._limits
        except Exception as error:  # noqa: BLE001 - each request will be told so
            _log.warning("the model loads, but does not work: %s", explain(error).message)

    @cached_property
    def _limits(self) -> Limits:
        network, room = self._model.network, self._model.room
        together = prove(network, self._generator.pad, coarse=self._coarse)
        config = network.config.get_text_config(decoder=True)
        if together == "padded" and (scales_with_longest(config) or reads_padding(self._model)):
            together = "same length"
        if together != "padded":
            what = "one at a time" if together == "alone" else "only with others of their length"
            _log.info("prompts are computed %s: a batch would change what the model says", what)
        rows = 1 if together == "alone" else self._most
        bytes_per_token = 2 * config.num_hidden_layers * config.hidden_size * network.dtype.itemsize
        tokens = affordable_tokens(network.device, bytes_per_token, rows=rows, context=room.decoder)
        _log.info("batches of up to %d rows and %d tokens, prompts and answers together", rows, tokens)
        return Limits(
            rows=rows,
            tokens=tokens,
            prompt_tokens=None if self._generator.reads_in_pieces else _ENCODER_TOKENS,
            context=None if room.encoder_decoder else room.decoder,
            padding=together == "padded",
        )

    def _compute_together(self, units: list[Unit]) -> None:
        """All in one batch; where that fails, one after the other, so that only those end that cannot be computed."""
        self._batch = units
        try:
            self._compute()
        except NobodyWaitsError:
            return
        except Exception as error:  # noqa: BLE001 - what fails here concerns this batch alone
            if len(units) == 1:
                self._fail(units[0].first.job, explain(error))
        else:
            return
        if len(units) > 1:  # out here the error, and with it what the failed batch held, is gone
            for unit in units:
                if not all(map(self._has_ended, unit.rows)):
                    self._compute_together([unit])

    def _compute(self) -> None:
        if self._batch[0].first.sampling.num_beams == 1:
            self._generator.write([unit.first for unit in self._batch], self._has_ended, self._take)
            return
        for unit, found in zip(self._batch, self._generator.search(self._batch), strict=True):
            if found is None:
                self._fail(unit.first.job, not_finite())
                continue
            for row, tokens in zip(unit.rows, found, strict=True):
                self._say(row, "".join(map(row.push, tokens)))

    def _take(self, chosen: Sequence[tuple[Row, int | None]]) -> None:
        for row, token in chosen:
            if token is None:
                self._fail(row.job, not_finite())
            else:
                self._say(row, row.push(token))
        self._emit()

    def _say(self, row: Row, text: str) -> None:
        """What a row's new tokens mean for its job, unless that has failed or been cancelled meanwhile."""
        job = row.job
        answer = self._answers.get(job)
        if answer is None:
            return
        if text and job.request.stream:
            self._outcomes.append((job, row.piece(text)))
        if row.done and answer.done:
            self._outcomes.append((job, answer.finished()))
            self._forget(job)

    def _fail(self, job: Job[GenerationRequest], error: ServiceError) -> None:
        if job in self._answers:
            self._outcomes.append((job, error))
            self._forget(job)

    def _forget(self, job: Job[GenerationRequest]) -> None:
        del self._answers[job]
        self._waiting = [unit for unit in self._waiting if unit.first.job is not job]

    def _forget_cancelled(self) -> None:
        for job in [job for job in self._answers if job.cancelled]:
            self._forget(job)

    def _emit(self) -> None:
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            self._host.emit(outcomes)

    def _has_ended(self, row: Row) -> bool:
        return row.done or row.job.cancelled or row.job not in self._answers

    def _check(self) -> None:
        self._host.beat()
        if self._batch and all(self._has_ended(row) for unit in self._batch for row in unit.rows):
            raise NobodyWaitsError
