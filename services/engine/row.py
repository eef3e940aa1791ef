"""One sequence while it grows: its tokens, its text, and when it ends; the same for every runner that writes text."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from services.engine.base import Finished, GenerationRequest, Job, Piece
from services.engine.sampling.randomness import row_seed
from services.engine.text import Decode, TextStream, whole_text
from services.wire import FinishReason


class Row:
    """The sequence `(index, number)` of a job: prompt `index`, answer `number` to it.

    decode: token ids -> text, special tokens left out.
    ends: the model's end tokens.

    tokens: what was generated, an end token included. seed: 64 bits, which no other row of the request has.
    done: the row takes no more tokens; `finish_reason`, `text` and `writing_s` are final then.
    writing_s: from the first token to the last; 0 until then.
    """

    def __init__(
        self, job: Job[GenerationRequest], index: int, number: int, *, decode: Decode, ends: Collection[int]
    ) -> None:
        request = job.request
        self.job = job
        self.index = index
        self.number = number
        self.prompt = request.prompts[index]
        self.sampling = request.sampling
        self.seed = row_seed(request.seed, index, number)
        self.tokens: list[int] = []
        self.done = False
        self.finish_reason: FinishReason = "length"
        self.text = ""
        self.writing_s = 0.0
        self._began_s = 0.0
        self._decode = decode
        self._ends = ends
        self._before = self.prompt.ids if self.prompt.continues else ()
        self._stream: TextStream | None = None
        if request.stream or self.sampling.stop:
            self._stream = TextStream(decode, before=self._before, stop=self.sampling.stop)

    def push(self, token: int) -> str:
        """The text that this token made certain; always empty where nobody has to see it before the end.

        A row that is done takes no token and says nothing.
        """
        if self.done:
            return ""
        if not self.tokens:
            self._began_s = time.monotonic()
            if self.job.first_token_s is None:
                self.job.first_token_s = self._began_s
        self.tokens.append(token)
        ended = token in self._ends
        stopped = False
        piece = ""
        self.done = ended or len(self.tokens) >= self.prompt.max_new
        if self._stream is not None:
            piece = "" if ended else self._stream.push(token)
            self.done |= self._stream.stopped
            piece += self._stream.finish() if self.done else ""
            self.text += piece
            stopped = self._stream.stopped
        elif self.done:
            self.text = whole_text(self._decode, self.tokens[:-1] if ended else self.tokens, before=self._before)
        if self.done:
            self.writing_s = time.monotonic() - self._began_s
        if ended or stopped:
            self.finish_reason = "stop"
        return piece

    def piece(self, text: str) -> Piece:
        return Piece(self.index, self.number, text)


class Answer:
    """All rows of one job, in the order of its prompts and, within one, of its sequences."""

    def __init__(self, job: Job[GenerationRequest], *, decode: Decode, ends: Collection[int]) -> None:
        request = job.request
        self.job = job
        self._width = request.sampling.num_return_sequences
        self.rows: Sequence[Row] = [
            Row(job, index, number, decode=decode, ends=ends)
            for index in range(len(request.prompts))
            for number in range(self._width)
        ]

    @property
    def done(self) -> bool:
        return all(row.done for row in self.rows)

    def finished(self) -> Finished:
        """What the job ends with, once it is done."""
        starts = range(0, len(self.rows), self._width)
        return Finished(
            texts=tuple(tuple(row.text for row in self.rows[start : start + self._width]) for start in starts),
            finish_reasons=tuple(
                tuple(row.finish_reason for row in self.rows[start : start + self._width]) for start in starts
            ),
            completion_tokens=sum(len(row.tokens) for row in self.rows),
            writing_s=sum(row.writing_s for row in self.rows),
        )


def make_decode(tokenizer: Any) -> Decode:
    """Token ids -> text as the tokenizer's `decode` gives it, special tokens left out, without its 50 us of checks.

    tokenizer: of transformers. A class that decodes in a way of its own keeps it.
    """
    from transformers import PreTrainedTokenizerBase, TokenizersBackend

    kind = type(tokenizer)
    usual = kind.decode is PreTrainedTokenizerBase.decode
    if usual and getattr(kind, "_decode", None) is TokenizersBackend._decode:
        backend: Callable[..., str] = tokenizer.backend_tokenizer.decode
        return lambda ids: backend(ids, skip_special_tokens=True)
    decode: Callable[..., str] = tokenizer.decode
    return lambda ids: decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
