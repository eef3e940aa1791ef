"""text-embedding: a text becomes a vector whose direction says what it is about."""

from collections.abc import Mapping
from typing import Any

from services.engine.base import EncodingRequest
from services.tasks.admission import Steps
from services.tasks.encoder_task import EncoderTask, Prepared, Texts
from services.tasks.fields import batch_size


class Task(EncoderTask):
    """One text gives a list of numbers, a list of texts a list of those.

    The repository's own pooling unless `pooling` says otherwise; length 1 unless `normalize` is false.
    """

    def prepare(self, fields: Mapping[str, Any]) -> Steps[Prepared]:
        texts, many = Texts.of(fields, "text", "text-embedding")
        inputs, warnings = yield from self.encode(texts, fields)
        request = EncodingRequest(
            inputs,
            pooling=fields.get("pooling") or self.model.pooling,
            normalize=fields.get("normalize", True),
            batch_size=batch_size(fields),
        )
        return Prepared(request, lambda rows: list(rows) if many else rows[0], warnings)
