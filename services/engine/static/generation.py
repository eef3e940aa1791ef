"""One batch through `generate()`: padded, our sampler choosing for every row, stopped as soon as nobody waits."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from services.engine.loading.generators import LoadedModel
from services.engine.row import Row
from services.engine.sampling.parameters import Sampling
from services.engine.sampling.sampler import Sampler, is_complete_for
from services.engine.static.batch import Unit

PREFILL_CHUNK = 1024
"""Tokens of prompts that are read at once, of all rows together: of more, a single layer would take longer than a
cancelled request may, and the attention of some models more memory than there is."""

OnTokens = Callable[[Sequence[tuple[Row, int | None]]], None]
"""Told once a step which token each row got; None where the row's numbers are not finite."""


class Generator:
    """Runs batches on a loaded model.

    check: called before every layer and between tokens; what it raises ends the batch.
    reads_in_pieces: whether long prompts are read in pieces.
    """

    def __init__(self, model: LoadedModel, check: Callable[[], None]) -> None:
        self._network = model.network
        self._config = model.network.generation_config
        self._encoder_decoder = model.room.encoder_decoder
        self._check = check
        self._sampler = Sampler(self._config, model.eos_token_ids, self._start() if self._encoder_decoder else None)
        marking = self._config.watermarking_config
        vocabulary = model.network.config.get_text_config(decoder=True).vocab_size
        self._mark = None if marking is None else marking.construct_processor(vocabulary, model.network.device)
        stateful = getattr(model.network, "_is_stateful", False)  # transformers' word for models like Mamba
        self.reads_in_pieces = not (self._encoder_decoder or stateful)
        for module in model.network.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._before_layer)

    def write(self, rows: Sequence[Row], ended: Callable[[Row], bool], on_tokens: OnTokens) -> None:
        """All rows token by token, until each has ended.

        A row that has tokens, from a batch that failed, gets the same ones again before `on_tokens` hears of new ones.
        ended: whether a row wants no more; asked after each step, so that its tokens are no longer chosen.
        Raises what `check` and torch raise.
        """
        forced = _as_list(self._config.forced_eos_token_id)
        chooser = _Chooser(rows, ended, self._sampler, forced=min(forced) if forced else None, mark=self._mark)
        self._generate(
            rows,
            GenerationConfig(
                max_new_tokens=max(row.prompt.max_new for row in rows),
                do_sample=False,
                num_beams=1,
                num_return_sequences=1,
                repetition_penalty=1.0,
            ),
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=StoppingCriteriaList([_Pusher(chooser, on_tokens, self._check)]),
        )

    def search(self, units: Sequence[Unit]) -> list[list[list[int]] | None]:
        """Beams for units of one group: the tokens of each unit's rows, padded; None where numbers are not finite."""
        rows = [unit.first for unit in units]
        sampling, prompt = rows[0].sampling, rows[0].prompt
        if sampling.do_sample:
            torch.manual_seed(rows[0].job.request.seed + rows[0].index)
        finite = _Finite(sampling.num_beams)
        output = self._generate(
            rows,
            GenerationConfig(
                max_new_tokens=prompt.max_new,
                min_new_tokens=prompt.min_new,
                do_sample=sampling.do_sample,
                num_beams=sampling.num_beams,
                num_return_sequences=sampling.num_return_sequences,
                repetition_penalty=sampling.repetition_penalty,
                length_penalty=sampling.length_penalty,
                early_stopping=sampling.early_stopping,
                **_spread(sampling),
            ),
            logits_processor=LogitsProcessorList([finite]),
        )
        start = 1 if self._encoder_decoder else max(unit.length for unit in units)
        found: list[list[list[int]]] = output[:, start:].unflatten(0, (len(units), -1)).tolist()
        return [None if index in finite.failed else tokens for index, tokens in enumerate(found)]

    def _generate(self, rows: Sequence[Row], config: GenerationConfig, **how: Any) -> Any:
        ids, mask = self.pad([row.prompt.ids for row in rows])
        width = len(rows) * config.num_beams
        if self.reads_in_pieces and ids.shape[1] * width > PREFILL_CHUNK:
            config.prefill_chunk_size = max(1, PREFILL_CHUNK // width)
        with torch.inference_mode():
            return self._network.generate(ids, attention_mask=mask, generation_config=config, **how)

    def pad(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask [row, longest prompt]; decoders go on at the right end, so they are padded at the left."""
        longest = max(map(len, prompts))
        pad = self._config.pad_token_id
        ids, mask = [], []
        for prompt in prompts:
            missing = longest - len(prompt)
            parts = ([*prompt], [pad] * missing) if self._encoder_decoder else ([pad] * missing, [*prompt])
            ones = ([1] * len(prompt), [0] * missing) if self._encoder_decoder else ([0] * missing, [1] * len(prompt))
            ids.append(parts[0] + parts[1])
            mask.append(ones[0] + ones[1])
        device = self._network.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _start(self) -> list[int]:
        """What `generate()` lets a decoder's text begin with."""
        start = self._config.decoder_start_token_id
        return _as_list(self._config.bos_token_id if start is None else start)

    def _before_layer(self, _module: torch.nn.Module, _arguments: Any) -> None:
        self._check()


def reads_padding(model: LoadedModel) -> bool:
    """Whether a processor of the repository's looks at prompts, where padding could change what it does."""
    config = model.network.generation_config
    if not model.room.encoder_decoder:
        return not is_complete_for(config)
    looks = (config.encoder_no_repeat_ngram_size or 0) > 0 or (config.encoder_repetition_penalty or 1) != 1
    return looks and config.pad_token_id in model.eos_token_ids  # a text never goes on behind another padding token


def _spread(sampling: Sampling) -> dict[str, Any]:
    if not sampling.do_sample:
        return {}
    return {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}


def _as_list(tokens: int | list[int] | None) -> list[int]:
    return [] if tokens is None else [tokens] if isinstance(tokens, int) else tokens


class _Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Leaves of each row's scores only the token that our sampler chose, after the processors of the repository.

    forced: the token that a text must end with when it is as long as it may be. `generate()` knows one length only.
    mark: the watermark, which `generate()` would put on behind us, where nothing is left to choose.
    chosen: the tokens of this step, of the rows that had not ended.
    """

    def __init__(
        self, rows: Sequence[Row], ended: Callable[[Row], bool], sampler: Sampler, *, forced: int | None, mark: Any
    ) -> None:
        self.rows = rows
        self.ended = ended
        self.chosen: list[tuple[Row, int | None]] = []
        self._step = 0
        self._sampler = sampler
        self._forced = forced
        self._mark = mark

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._mark is not None:
            scores = self._mark(input_ids, scores)
        going = [(place, row) for place, row in enumerate(self.rows) if not self.ended(row)]
        known = [pair for pair in going if self._step < len(pair[1].tokens)]
        new = [pair for pair in going if self._step == len(pair[1].tokens)]
        last = [pair for pair in new if self._must_end(pair[1])]
        free = [pair for pair in new if not self._must_end(pair[1])]
        self.chosen = [(row, self._forced) for _, row in last]
        if free:
            places, rows = zip(*free, strict=True)
            own = scores if len(free) == len(self.rows) else scores[list(places)]
            self.chosen += zip(rows, self._sampler.choose(own, rows), strict=True)
        only = torch.full_like(scores, -torch.inf)
        tokens = [row.tokens[self._step] for _, row in known] + [token or 0 for _, token in self.chosen]
        where = [place for place, _ in known + last + free]
        only[where, torch.tensor(tokens, dtype=torch.long, device=scores.device)] = 0  # there may be none
        self._step += 1
        return only

    def _must_end(self, row: Row) -> bool:
        return self._forced is not None and len(row.tokens) == row.prompt.max_new - 1


class _Pusher(StoppingCriteria):  # type: ignore[misc]  # transformers has no types
    """Hands the chosen tokens on, and says which rows have ended."""

    def __init__(self, chooser: _Chooser, on_tokens: OnTokens, check: Callable[[], None]) -> None:
        self._chooser = chooser
        self._on_tokens = on_tokens
        self._check = check

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        self._on_tokens(self._chooser.chosen)
        self._check()
        return torch.tensor([self._chooser.ended(row) for row in self._chooser.rows], device=input_ids.device)


class _Finite(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Notes inputs whose beams get numbers that mean nothing, and lets the others go on; -inf forbids a token only.

    failed: their places.
    """

    def __init__(self, beams: int) -> None:
        self.failed: set[int] = set()
        self._beams = beams

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        broken = ~scores.amax(-1).isfinite()
        if broken.any():
            self.failed.update(place // self._beams for place in broken.nonzero()[:, 0].tolist())
            scores = scores.masked_fill(broken[:, None], 0)
        return scores
