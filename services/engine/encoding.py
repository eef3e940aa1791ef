"""Micro-batches for networks that read and do not write: what arrived while the last batch ran, sorted by length."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from services.engine.base import Encoded, EncoderInput, EncodingHost, EncodingRequest, Job, Occupancy, Outcome, Pooling
from services.engine.failure import explain, not_finite
from services.engine.loading.encoders import LoadedEncoder
from services.errors import ServiceError

_log = logging.getLogger(__name__)

TOKENS_OF_A_THREAD: Final = 512
"""Of one step on a processor: up to here a batch is computed faster than its texts alone, and then hardly any more."""
TOKENS_OF_A_GPU: Final = 16384

STEP_S = 0.2
"""How long a step of a large model may take: a single text that arrives meanwhile waits for it."""
LEAST_TOKENS = 128
"""Of one step, however slow the model: with fewer it would mostly wait for its weights."""
MAX_ROWS = 128
"""Inputs of one step, and requests at work, where the settings name no number."""

_FREE_PADDING = 32
"""Padding that costs less than a forward pass more."""
_PADDED_SHARE = 8
"""One token in this many may be padding."""


class _AbandonedError(Exception):
    """Ends a computation that nobody waits for any more."""


class _Progress:
    """A job, and how far it is. remaining: indices of the inputs to do, the longest last."""

    def __init__(self, job: Job[EncodingRequest]) -> None:
        inputs = job.request.inputs
        self.job = job
        self.remaining = sorted(range(len(inputs)), key=lambda index: len(inputs[index].ids))
        self.rows: list[tuple[float, ...]] = [()] * len(inputs)
        self.missing = len(inputs)
        self.failure: ServiceError | None = None

    @property
    def over(self) -> bool:
        return self.job.cancelled or self.failure is not None or self.missing == 0

    @property
    def outcome(self) -> Encoded | ServiceError:
        return self.failure or Encoded(tuple(self.rows))


@dataclass(frozen=True, slots=True)
class _Item:
    """One input of a job."""

    progress: _Progress
    index: int

    @property
    def input(self) -> EncoderInput:
        return self.progress.job.request.inputs[self.index]

    @property
    def length(self) -> int:
        return len(self.input.ids)


class EncoderRunner:
    """Computes inputs of all requests together; a Runner.

    A step takes inputs of the waiting requests in turn, so that a long list does not hold up a single text, and
    computes those of similar length at once. Its memory is bounded by its tokens: `max_tokens`, or one longer input.

    max_rows: inputs of one step and requests at work at most; 0: the runner decides.
    """

    def __init__(
        self, encoder: LoadedEncoder, host: EncodingHost, *, max_rows: int = 0, max_tokens: int | None = None
    ) -> None:
        self._encoder = encoder
        self._host = host
        self._max_jobs = max_rows or MAX_ROWS
        self._max_rows = 1 if encoder.pad_token_id is None else self._max_jobs
        on_processor = torch.get_num_threads() * TOKENS_OF_A_THREAD
        self._max_tokens = max_tokens or (on_processor if encoder.network.device.type == "cpu" else TOKENS_OF_A_GPU)
        self._step_tokens: float = self._max_tokens
        self._waiting: deque[_Progress] = deque()
        self._computing: Sequence[_Item] = ()
        for module in encoder.network.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._before_layer)
        self._warm_up()
        _log.info("up to %d tokens in up to %d inputs are computed at once", self._max_tokens, self._max_rows)

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(rows=len(self._computing))

    def accepts(self, request: EncodingRequest) -> bool:  # noqa: ARG002 - whatever it is
        return len(self._waiting) < self._max_jobs

    def add(self, job: Job[EncodingRequest]) -> None:
        self._waiting.append(_Progress(job))

    def step(self) -> None:
        self._emit_what_is_over()
        items = self._take()
        began_s = time.monotonic()
        for group in _groups(items):
            self._compute(group)
            self._emit_what_is_over()
        self._adapt(sum(item.length for item in items), time.monotonic() - began_s)

    def reset(self) -> None:
        self._waiting.clear()
        self._computing = ()

    def _adapt(self, tokens: int, took_s: float) -> None:
        """Have the next steps take as long as they may; a step of few tokens tells nothing."""
        if tokens >= min(LEAST_TOKENS, self._max_tokens):
            fitting = max(LEAST_TOKENS, tokens * STEP_S / max(took_s, 1e-6))
            self._step_tokens = min(self._max_tokens, (self._step_tokens + fitting) / 2)

    def _take(self) -> list[_Item]:
        """The inputs of one step: one of each request in turn, and the next step goes on with the next request."""
        taken: list[_Item] = []
        tokens = 0
        turns, later = self._waiting, deque[_Progress]()
        counts: dict[_Progress, int] = {}
        while turns and len(taken) < self._max_rows:
            progress = turns[0]
            item = _Item(progress, progress.remaining[-1])
            if taken and tokens + item.length > self._step_tokens:
                break
            turns.popleft()
            progress.remaining.pop()
            taken.append(item)
            tokens += item.length
            counts[progress] = counts.get(progress, 0) + 1
            may_give_more = progress.remaining and counts[progress] != progress.job.request.batch_size
            (turns if may_give_more else later).append(progress)
        self._waiting = turns + later
        return taken

    def _compute(self, items: Sequence[_Item]) -> None:
        """Fill in the rows of these items; what fails together is done in halves, until the culprit is alone."""
        self._computing = items = [item for item in items if not item.progress.over]
        if not items:
            return
        try:
            rows = self._forward([item.input for item in items], [item.progress.job.request for item in items])
        except _AbandonedError:
            return
        except Exception as error:  # noqa: BLE001 - whatever a network raises concerns the jobs of this batch only
            if len(items) > 1:
                half = len(items) // 2
                self._compute(items[:half])
                self._compute(items[half:])
            else:
                items[0].progress.failure = explain(error)
            return
        finally:
            self._computing = ()
        finite = torch.isfinite(rows).all(dim=1).tolist()
        now_s = time.monotonic()
        for item, row, is_finite in zip(items, rows.tolist(), finite, strict=True):
            if item.progress.job.first_token_s is None:
                item.progress.job.first_token_s = now_s
            item.progress.rows[item.index] = tuple(row)
            item.progress.missing -= 1
            if not is_finite:
                item.progress.failure = not_finite()

    def _forward(self, inputs: Sequence[EncoderInput], requests: Sequence[EncodingRequest]) -> torch.Tensor:
        """One row an input, `[inputs, width]`, on the processor; `requests[i]` says what becomes of `inputs[i]`."""
        device = self._encoder.network.device
        longest = max(len(item.ids) for item in inputs)
        lengths = torch.tensor([len(item.ids) for item in inputs], device=device)
        pad = self._encoder.pad_token_id or 0
        tensors = {
            "input_ids": _padded([item.ids for item in inputs], longest, pad).to(device),
            "attention_mask": (torch.arange(longest, device=device) < lengths[:, None]).long(),
        }
        if inputs[0].type_ids is not None:
            tensors["token_type_ids"] = _padded([item.type_ids or () for item in inputs], longest, 0).to(device)
        with torch.inference_mode():
            output = self._encoder.network(**tensors)
            if self._encoder.pooling is None:
                return output.logits.cpu().double()  # type: ignore[no-any-return]  # transformers has no types
            poolings = [request.pooling or self._encoder.pooling for request in requests]
            rows = _pool(output.last_hidden_state.float(), lengths, poolings)
            if self._encoder.head is not None:
                rows = self._encoder.head(rows)
            rows = rows.cpu().double()
            normalize = torch.tensor([request.normalize for request in requests])
            return torch.where(normalize[:, None], _normalized(rows), rows)

    def _before_layer(self, _module: torch.nn.Module, _arguments: Any) -> None:
        self._host.beat()
        if self._computing and all(item.progress.over for item in self._computing):
            raise _AbandonedError

    def _emit_what_is_over(self) -> None:
        """Tell the requests that are done, and forget them with those that were cancelled."""
        over = [progress for progress in self._waiting if progress.over]
        if not over:
            return
        self._waiting = deque(progress for progress in self._waiting if not progress.over)
        outcomes: list[Outcome[EncodingRequest, Encoded]] = [(progress.job, progress.outcome) for progress in over]
        self._host.emit(outcomes)

    def _warm_up(self) -> None:
        """Libraries import the rest of themselves at the first call; have that behind us."""
        ids = tuple(self._encoder.tokenizer("a")["input_ids"])
        try:
            rows = self._forward([EncoderInput(ids)], [EncodingRequest((), normalize=True)])
        except Exception as error:  # noqa: BLE001 - each request will be told so
            _log.warning("the model loads, but does not work", exc_info=error)
            return
        if not torch.isfinite(rows).all():
            _log.warning("the model loads, but does not work: %s", not_finite().message)


def _groups(items: Iterable[_Item]) -> list[list[_Item]]:
    """Items of similar length together, the shortest first, so that short requests leave before long ones are begun."""
    groups: list[list[_Item]] = []
    tokens = 0
    for item in sorted(items, key=lambda item: item.length):
        padded = (len(groups[-1]) + 1) * item.length if groups else 0
        padding = padded - tokens - item.length
        if groups and padding <= max(_FREE_PADDING, padded // _PADDED_SHARE):
            groups[-1].append(item)
            tokens += item.length
        else:
            groups.append([item])
            tokens = item.length
    return groups


def _padded(rows: Iterable[Sequence[int]], longest: int, filler: int) -> torch.Tensor:
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])


def _pool(hidden: torch.Tensor, lengths: torch.Tensor, poolings: Sequence[Pooling]) -> torch.Tensor:
    """`hidden` [inputs, tokens, width] of which row i has `lengths[i]` tokens, pooled by `poolings[i]`."""
    first = poolings[0]
    if all(pooling == first for pooling in poolings):
        return _pool_alike(hidden, lengths, first)
    pooled = hidden.new_empty(hidden.shape[0], hidden.shape[2])
    for kind in set(poolings):
        rows = [index for index, pooling in enumerate(poolings) if pooling == kind]
        pooled[rows] = _pool_alike(hidden[rows], lengths[rows], kind)
    return pooled


def _pool_alike(hidden: torch.Tensor, lengths: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    absent = (torch.arange(hidden.shape[1], device=hidden.device) >= lengths[:, None])[:, :, None]
    match pooling:
        case "cls":
            return hidden[:, 0]
        case "lasttoken":
            return hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1]
        case "max":
            return hidden.masked_fill(absent, float("-inf")).amax(dim=1)
        case "mean":
            return hidden.masked_fill(absent, 0).sum(dim=1) / lengths[:, None]


def _normalized(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1. Their 9th decimal says nothing in float32, but would double what is sent."""
    return torch.nn.functional.normalize(rows, dim=1).round(decimals=8)
