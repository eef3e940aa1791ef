"""text-generation: a text goes on. With `text` the answer repeats it, with `prompt` it does not."""

from collections.abc import Mapping
from typing import Any

from services.errors import ServiceError
from services.tasks.base import GenerationTask, Input, Inputs
from services.tasks.fields import missing, not_unicode


class Task(GenerationTask):
    """Prompts are tokenised as written, special tokens included: who writes the prompt decides what it means."""

    def read(self, fields: Mapping[str, Any]) -> Inputs:
        field = "text" if fields.get("text") is not None else "prompt"
        given = fields.get(field)
        if given is None:
            raise missing("text-generation", "text", or_else="prompt")
        echo = fields.get("return_full_text")
        if echo is None:  # an encoder-decoder's answer is a text of its own, not a continuation
            echo = field == "text" and not self.model.room.encoder_decoder
        many = isinstance(given, list)
        return Inputs([self._read_one(text, echo, field) for text in (given if many else [given])], many, field)

    def _read_one(self, text: str, echo: bool, field: str) -> Input:
        tokenizer = self.model.tokenizer
        try:
            ids: list[int] = tokenizer.encode(text)
        except (UnicodeEncodeError, TypeError):
            raise not_unicode(field) from None
        if not ids and tokenizer.bos_token_id is not None:
            ids = [tokenizer.bos_token_id]
        if not ids:
            raise ServiceError(
                422, "empty_prompt", f'"{field}" is empty, and the model cannot begin alone.', field=field
            )
        return Input(ids, echo=text if echo else "", continues=not self.model.room.encoder_decoder)
