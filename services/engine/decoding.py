"""One prompt through `generate()` in the engine's thread: text per step, cancelled within a layer, numbers checked."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Occupancy, Piece, Prompt
from services.engine.loading import LoadedModel
from services.engine.sampling import Sampling
from services.engine.text import TextStream
from services.errors import ServiceError
from services.wire import FinishReason

_log = logging.getLogger(__name__)

PREFILL_CHUNK = 1024
"""Tokens of a prompt that are read at once: of a long one, a single layer would take longer than a cancelled request
may, and the attention of some models more memory than there is."""


class CancelledError(Exception):
    """Ends a computation that nobody waits for any more."""


class Decoder:
    """Runs one prompt at a time on a loaded model.

    cancelled: asked before every layer and after every token, so that a long prompt ends as soon as a long answer does.
    """

    def __init__(self, model: LoadedModel, cancelled: Callable[[], bool]) -> None:
        self._model = model
        self._cancelled = cancelled
        self._decode = partial(model.tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._ends = frozenset(model.eos_token_ids)
        stateful = getattr(model.network, "_is_stateful", False)  # transformers' word for models like Mamba
        self._has_cache = not (model.room.encoder_decoder or stateful)
        for module in model.network.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._before_layer)

    def _before_layer(self, _module: torch.nn.Module, _arguments: Any) -> None:
        self.check()

    def check(self) -> None:
        """Raises CancelledError when nobody waits any more."""
        if self._cancelled():
            raise CancelledError

    def run(
        self, prompt: Prompt, sampling: Sampling, seed: int, emit: Callable[[list[tuple[int, str]]], None]
    ) -> tuple[list[str], list[FinishReason], int]:
        """All sequences of one prompt: their texts, why each ended, and the number of new tokens.

        emit: called once a step with (sequence, new text); the pieces of a sequence join to its text. Beams are only
            known at the end, so they come in one piece.
        Raises CancelledError, ServiceError 500 `non_finite_output`, and whatever torch raises.
        """
        rows = [_Row(self._text_stream(prompt, sampling), self._ends) for _ in range(sampling.num_return_sequences)]
        steps = _Steps(rows if sampling.num_beams == 1 else [], emit, self.check)
        torch.manual_seed(seed)
        ids = torch.tensor([prompt.ids], device=self._model.network.device)
        with torch.inference_mode():
            output = self._model.network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=self._config(prompt, sampling),
                logits_processor=LogitsProcessorList([_Finite()]),
                stopping_criteria=StoppingCriteriaList([steps]),
            )
        if sampling.num_beams > 1:
            start = 1 if self._model.room.encoder_decoder else len(prompt.ids)
            for row, tokens in zip(rows, output[:, start:].tolist(), strict=True):
                for token in tokens:
                    row.push(token)
            emit([(index, "".join(row.pieces)) for index, row in enumerate(rows)])
        emit([(index, row.finish()) for index, row in enumerate(rows)])
        texts = ["".join(row.pieces) for row in rows]
        return texts, ["stop" if row.done else "length" for row in rows], sum(row.tokens for row in rows)

    def _text_stream(self, prompt: Prompt, sampling: Sampling) -> TextStream:
        return TextStream(self._decode, before=prompt.ids if prompt.continues else (), stop=sampling.stop)

    def _config(self, prompt: Prompt, sampling: Sampling) -> GenerationConfig:
        """What `generate()` fills up with the model's generation_config, such as its end and start tokens."""
        spread: dict[str, Any] = {}
        if sampling.do_sample:
            spread = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        beams: dict[str, Any] = {}
        if sampling.num_beams > 1:
            beams = {"length_penalty": sampling.length_penalty, "early_stopping": sampling.early_stopping}
        chunked = len(prompt.ids) > PREFILL_CHUNK and self._has_cache
        return GenerationConfig(
            max_new_tokens=prompt.max_new,
            min_new_tokens=prompt.min_new,
            do_sample=sampling.do_sample,
            repetition_penalty=sampling.repetition_penalty,
            num_return_sequences=sampling.num_return_sequences,
            num_beams=sampling.num_beams,
            prefill_chunk_size=PREFILL_CHUNK if chunked else None,
            **spread,
            **beams,
        )


class GenerateRunner:
    """Does one request after the other with `generate()`; a Runner."""

    def __init__(self, model: LoadedModel, host: GenerationHost) -> None:
        self._host = host
        self._job: Job[GenerationRequest] | None = None
        self._decoder = Decoder(model, cancelled=self._is_cancelled)
        self._warm_up()

    @property
    def busy(self) -> bool:
        return self._job is not None

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(rows=int(self.busy))

    def accepts(self, request: GenerationRequest) -> bool:  # noqa: ARG002 - one at a time, whatever it is
        return self._job is None

    def add(self, job: Job[GenerationRequest]) -> None:
        self._job = job

    def step(self) -> None:
        job = self._job
        if job is None:
            return
        try:
            finished = self._run(job)
            self._host.emit([(job, finished)])
        except CancelledError:
            pass
        self._job = None

    def reset(self) -> None:
        self._job = None

    def _run(self, job: Job[GenerationRequest]) -> Finished:
        request = job.request
        texts, reasons, completion_tokens = [], [], 0
        for index, prompt in enumerate(request.prompts):
            self._decoder.check()

            def emit(pieces: list[tuple[int, str]], index: int = index) -> None:
                if request.stream:
                    self._host.emit([(job, Piece(index, sequence, text)) for sequence, text in pieces if text])

            sequences, ended, tokens = self._decoder.run(prompt, request.sampling, request.seed + index, emit)
            texts.append(tuple(sequences))
            reasons.append(tuple(ended))
            completion_tokens += tokens
        return Finished(tuple(texts), tuple(reasons), completion_tokens)

    def _is_cancelled(self) -> bool:
        self._host.beat()
        return self._job is not None and self._job.cancelled

    def _warm_up(self) -> None:
        """Libraries import the rest of themselves at the first call; have that behind us."""
        try:
            self._decoder.run(Prompt((0,), max_new=2), Sampling(do_sample=False), 0, lambda _pieces: None)
        except ServiceError as error:  # each request will be told so
            _log.warning("the model loads, but does not work: %s", error.message)


class _Row:
    """One sequence while it grows."""

    def __init__(self, stream: TextStream, ends: frozenset[int]) -> None:
        self.pieces: list[str] = []
        self.tokens = 0
        self.done = False
        self._stream = stream
        self._ends = ends

    def push(self, token: int) -> str:
        """Its new text; a finished row takes no more, since `generate()` pads it."""
        if self.done:
            return ""
        self.tokens += 1
        piece = "" if token in self._ends else self._stream.push(token)
        self.done = token in self._ends or self._stream.stopped
        self.pieces.append(piece)
        return piece

    def finish(self) -> str:
        piece = self._stream.finish()
        self.done |= self._stream.stopped
        self.pieces.append(piece)
        return piece


class _Steps(StoppingCriteria):  # type: ignore[misc]  # transformers has no types
    """Sees every token as it is chosen, and says which rows are done."""

    def __init__(self, rows: list[_Row], emit: Callable[[list[tuple[int, str]]], None], check: Callable[[], None]):
        self._rows = rows
        self._emit = emit
        self._check = check

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        self._check()
        done = [False] * len(input_ids)
        if self._rows:
            pieces = [row.push(token) for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True)]
            done = [row.done for row in self._rows]
            self._emit([(index, piece) for index, piece in enumerate(pieces) if piece])
        return torch.tensor(done, device=input_ids.device)


class _Finite(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Refuses to choose a token from numbers that mean nothing; a forbidden token's -inf is fine."""

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not torch.isfinite(scores.max()):
            raise ServiceError(
                500,
                "non_finite_output",
                "The model computed numbers that are not finite (NaN or infinity), so there is no answer.",
                hint="Try `precision: float32` in the file, or check the model's weights.",
            )
        return scores
