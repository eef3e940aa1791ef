"""transformers' continuous batching as a Runner, for GPUs: its paged cache, scheduler and CUDA graphs, and our sampler.

transformers' own manager computes in a thread of its own and draws from one generator for all rows, so that a seed
means nothing. Here the parts below it are driven by the engine's thread, no other one is started, and the Sampler
chooses every token; so each request gets what it asks for.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from queue import Empty
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.continuous_api import ContinuousBatchingManager
from transformers.generation.continuous_batching.model_runner import ModelRunner
from transformers.generation.continuous_batching.requests import RequestState

from services.engine.base import (
    GenerationHost,
    GenerationRequest,
    GenerationRunner,
    Job,
    Occupancy,
    Prompt,
)
from services.engine.continuous.network import UnfitError
from services.engine.failure import beyond_cache, not_finite
from services.engine.loading.generators import LoadedModel
from services.engine.row import Row, make_decode
from services.engine.sampling.parameters import Sampling
from services.engine.sampling.sampler import Sampler
from services.engine.static.proof import FORCED, TEXTS, alike, tolerance_of
from services.engine.works import Work, Works

_log = logging.getLogger(__name__)

PAGE = 256
"""Tokens of a page of the cache, the smallest part that a row holds; CUDA's attention kernels want this size."""

BATCH_TOKENS = 2048
"""Tokens computed in one step: one of each row that writes, the others of prompts that are being read."""


def start_paged(
    model: LoadedModel, host: GenerationHost, *, rows: int, tokens: int, beams: GenerationRunner, page: int = PAGE
) -> "PagedRunner":
    """A PagedRunner that is warm and says what the network says alone; raises UnfitError with the reason otherwise."""
    attention = model.network.config._attn_implementation
    if attention != "sdpa":  # for any other one, transformers would change the network that the beams use, too
        raise UnfitError(f"its attention is {attention}")
    try:
        runner = PagedRunner(model, host, rows=rows, tokens=tokens, beams=beams, page=page)
        same = runner.says_the_same()
    except Exception as error:
        raise UnfitError(f"a paged cache does not hold it ({type(error).__name__})") from error
    if not same:
        raise UnfitError("it says something else with a paged cache")
    _log.info("up to %d rows at once, and %d tokens in a paged cache", rows, runner.occupancy.cache_tokens)
    return runner


class PagedRunner:
    """A Runner: one step computes up to BATCH_TOKENS, and gives every row that has read its prompt one token.

    rows: sequences in the batch at most. tokens: what the cache holds; its memory is taken at once.
    beams: does the requests that search with beams, each in a step of its own.
    """

    def __init__(
        self,
        model: LoadedModel,
        host: GenerationHost,
        *,
        rows: int,
        tokens: int,
        beams: GenerationRunner,
        page: int = PAGE,
    ) -> None:
        self._network = model.network
        self._most = rows
        self._tokens = tokens // page * page
        self._beams = beams
        self._ends = frozenset(model.eos_token_ids)
        self._works = Works(host, decode=make_decode(model.tokenizer), ends=self._ends)
        self._manager = ContinuousBatchingManager(
            model.network,
            GenerationConfig(do_sample=False, eos_token_id=list(model.eos_token_ids)),
            ContinuousBatchingConfig(
                page_size=page,
                num_blocks=tokens // page,
                max_batch_tokens=BATCH_TOKENS,
                max_requests_per_batch=rows,
                use_async_batching=False,  # the sampler's choice is needed on the host before the next step
                auto_switch_to_flash=False,  # it would fetch kernels from the hub
            ),
        )
        self._processor = self._manager._create_batch_processor()
        sampler = Sampler(model.network.generation_config, self._ends)
        self._scorer = self._processor.model_runner = _Scorer(self._processor, sampler, rows)
        self._processor.warmup(model.network)
        self._names: dict[Row, str] = {}
        """Of the rows in the batch, as the scheduler knows them."""
        self._count = 0

    @property
    def busy(self) -> bool:
        return bool(self._works) or self._beams.busy

    @property
    def occupancy(self) -> Occupancy:
        held = sum(len(row.prompt.ids) + len(row.tokens) for row in list(self._scorer.rows.values()))
        return Occupancy(len(self._scorer.rows), held, self._tokens)

    def accepts(self, request: GenerationRequest) -> bool:
        """Every earlier request has all its rows in the batch, and there is a place for one more."""
        if any(work.waiting for work in self._works.unfinished):
            return False
        return self._beams.accepts(request) if request.sampling.num_beams > 1 else len(self._scorer.rows) < self._most

    def add(self, job: Job[GenerationRequest]) -> None:
        request = job.request
        if request.sampling.num_beams > 1:
            self._beams.add(job)
            return
        longest = max(request.prompts, key=lambda prompt: len(prompt.ids) + prompt.max_new)
        if len(longest.ids) + longest.max_new > self._tokens:
            self._works.fail(job, beyond_cache(len(longest.ids), longest.max_new, self._tokens))
            return
        self._seat(self._works.add(job))

    def step(self) -> None:
        for job in self._works.cancelled:
            self._works.drop(job)
            self._dismiss(job)
        for work in self._works.unfinished:
            self._seat(work)
        try:
            if self._processor.prepare_next_batch():
                self._processor._generation_step(self._network)
                self._processor.update_batch()
                self._take(self._scorer.chosen)
        finally:
            self._emit()
        if self._beams.busy:
            self._beams.step()

    def reset(self) -> None:
        self._works.clear()
        self._names.clear()
        self._scorer.rows.clear()
        self._processor.reset()
        self._beams.reset()

    def says_the_same(self) -> bool:
        """Whether two staggered rows get the logits here that the network computes for each alone."""
        witness = _Witness()
        sampler, self._scorer.sampler = self._scorer.sampler, witness
        prompts = tuple(Prompt(text, max_new=3) for text in TEXTS)
        self.add(Job(GenerationRequest(prompts, Sampling(do_sample=False), seed=0, stream=False)))
        while self._works:
            self.step()
        self._scorer.sampler = sampler
        tolerance = tolerance_of(self._network)
        with torch.inference_mode():
            return all(
                alike(scores, self._network(torch.tensor([ids], device=scores.device)).logits[0, -1].float(), tolerance)
                for ids, scores in witness.seen
            )

    def _seat(self, work: Work) -> None:
        """Hand the request's next rows to the scheduler, as many as may be computed together."""
        while work.waiting and work.seated < work.at_once and len(self._scorer.rows) < self._most:
            row = work.waiting.popleft()
            name = str(self._count)
            self._count += 1
            work.seated += 1
            self._names[row] = name
            self._scorer.rows[name] = row
            self._processor.scheduler.add_waiting_request(
                RequestState(
                    name,
                    list(row.prompt.ids),
                    max_new_tokens=row.prompt.max_new,
                    eos_token_id=sorted(self._ends),
                )
            )

    def _take(self, chosen: Sequence[tuple[Row, int | None]]) -> None:
        for row, token in chosen:
            job = row.job
            if job not in self._works:  # another row of it has failed just now
                continue
            if token is None:
                self._works.fail(job, not_finite())
                self._dismiss(job)
                continue
            self._works.push(row, token)
            if row.done:
                self._leave(row)
                self._works.leave(row)

    def _dismiss(self, job: Job[GenerationRequest]) -> None:
        """Take all rows of a job out."""
        for row in [row for row in self._names if row.job is job]:
            self._leave(row)

    def _leave(self, row: Row) -> None:
        """Free a row's pages; transformers sees ends and lengths by itself, but neither stop texts nor cancels."""
        name = self._names.pop(row)
        del self._scorer.rows[name]
        self._processor.scheduler.set_request_cancellation(name)

    def _emit(self) -> None:
        try:
            while True:  # transformers' own answers, which nobody reads
                self._manager.output_router.output_queue.get_nowait()
        except Empty:
            pass
        self._works.report()


class _Witness:
    """In the sampler's place: keeps each row's tokens and the scores behind them, and has them all go on alike."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], torch.Tensor]] = []

    def choose(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[int | None]:
        self.seen += [
            ([*row.prompt.ids, *row.tokens], scores.clone()) for row, scores in zip(rows, logits, strict=True)
        ]
        return [FORCED] * len(rows)


class _Scorer(ModelRunner):  # type: ignore[misc]  # transformers has no types
    """Runs the network as transformers does, as a CUDA graph where it can, and has our sampler choose behind it.

    rows: those in the batch, by their names. chosen: what the last step gave each of its rows.
    sampler: may be changed between steps.
    """

    def __init__(self, processor: Any, sampler: Sampler | _Witness, most: int) -> None:
        super().__init__(
            logit_processor=processor.logit_processor,
            cb_config=processor.cb_config,
            cache=processor.cache,
            inputs_and_outputs=processor.inputs_and_outputs,
            do_sample=False,
            return_logprobs=False,
        )
        self.rows: dict[str, Row] = {}
        self.chosen: list[tuple[Row, int | None]] = []
        self.sampler = sampler
        self._most = most
        self._scores: torch.Tensor | None = None

    def compute_batch(self, model: Any, batch_data: dict[str, Any]) -> None:
        super().compute_batch(model, batch_data)
        futures = self.inputs_and_outputs.requests_in_batch
        names = [future.state.request_id for future in futures if future.has_new_token]
        rows = [self.rows[name] for name in names if name in self.rows]  # none while graphs are captured
        self.chosen = []
        if not rows or self._scores is None:
            return
        stream = self.inputs_and_outputs.compute_stream
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            self.chosen = list(zip(rows, self.sampler.choose(self._scores[: len(rows)], rows), strict=True))
            tokens = torch.tensor([token or 0 for _, token in self.chosen], dtype=torch.int32)
            self.inputs_and_outputs.get_cb_kwargs()[2][0, : len(rows)].copy_(tokens)

    def _sample(self, scores: torch.Tensor, _output_ids: torch.Tensor) -> None:
        """Keep the scores [1, row, token] where a graph that is replayed writes them again."""
        if self._scores is None:
            self._scores = scores.new_empty(self._most, scores.shape[-1])
        count = min(self._most, scores.shape[1])
        self._scores[:count].copy_(scores[0, :count])
