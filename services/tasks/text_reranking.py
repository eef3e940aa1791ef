"""text-reranking: documents in the order of how well they answer a query."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.engine.base import EncodingRequest
from services.engine.failure import MODEL_UNFIT, LoadError
from services.errors import ServiceError
from services.tasks.admission import Steps
from services.tasks.encoder_task import EncoderTask, Prepared, Row, Texts, is_unicode
from services.tasks.fields import batch_size, missing, not_unicode
from services.tasks.text_classification import sigmoid, softmax

if TYPE_CHECKING:
    from services.engine.loading.encoders import LoadedEncoder

_ACTIVATIONS: dict[str, Callable[[float], float]] = {"Sigmoid": sigmoid, "Identity": float, "Tanh": math.tanh}


class Task(EncoderTask):
    """Reads the query with each document, and sorts them by the score of the pair."""

    def setup(self, model: "LoadedEncoder") -> None:
        super().setup(model)
        self._score = self._score_of(model)

    def prepare(self, fields: Mapping[str, Any]) -> Steps[Prepared]:
        for name in ("query", "documents"):
            if fields.get(name) is None:
                raise missing("text-reranking", name)
        query, documents = fields["query"], fields["documents"]
        if not is_unicode(query):
            raise not_unicode("query")
        texts = [_text_of(document, index, fields.get("document_field")) for index, document in enumerate(documents)]
        query, shortened = self._shorten(query, fields)
        inputs, cut = yield from self.encode(
            Texts([(query, text) for text in texts], lambda index: f"documents[{index}]"), fields
        )

        def result(rows: Sequence[Row]) -> list[dict[str, Any]]:
            return _ranking([self._score(row) for row in rows], documents, fields)

        return Prepared(EncodingRequest(inputs, batch_size=batch_size(fields)), result, shortened + cut)

    def _shorten(self, query: str, fields: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        """The query as far as a pair may hold it, and a warning: one of a book's length is read with every document."""
        tokenizer, limit = self.model.tokenizer, self._limit(fields, pairs=True)
        if limit is None or len(query) <= 2 * limit or not tokenizer.is_fast:
            return query, []
        encoded = tokenizer(query, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        places = encoded["offset_mapping"]
        if len(places) <= 2 * limit:  # so much more than fits that a pair is cut as the whole would be
            return query, []
        message = f'"query" has {len(places)} tokens, and the model reads {limit} of a query and a document together.'
        return query[: places[2 * limit][0]], [{"code": "input_truncated", "message": message, "field": "query"}]

    def _score_of(self, model: "LoadedEncoder") -> Callable[[Row], float]:
        """How the logits of a pair become its score, as sentence-transformers does it."""
        match model.config.num_labels:
            case 1:
                name = model.activation or "Sigmoid"
                if name not in _ACTIVATIONS:
                    raise LoadError(
                        f"{self.settings.model} needs the activation {name}, which is not known", MODEL_UNFIT
                    )
                activation = _ACTIVATIONS[name]
                return lambda row: activation(row[0])
            case 2:
                return lambda row: softmax(row)[1]
            case classes:
                raise LoadError(
                    f"{self.settings.model} tells {classes} classes apart, so it does not fit text-reranking, which"
                    " wants one score",
                    MODEL_UNFIT,
                )


def _text_of(document: Any, index: int, key: str | None) -> str:
    """The text of a document that is one, or that holds one under `key`."""
    if isinstance(document, str):
        return document
    where = f"documents[{index}]"
    if key is None:
        raise ServiceError(
            422,
            "invalid_document",
            f'"{where}" is an object.',
            hint='Say with "document_field" which key holds its text.',
            field=where,
        )
    if not isinstance(document.get(key), str):
        what = "is not text" if key in document else "is absent"
        raise ServiceError(422, "invalid_document", f'"{key}" of "{where}" {what}.', field=where)
    text: str = document[key]
    return text


def _ranking(scores: Sequence[float], documents: Sequence[Any], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Best first; of equal ones the earlier."""
    threshold, with_documents = fields.get("score_threshold"), fields.get("return_documents", True)
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    kept = [index for index in order if threshold is None or scores[index] >= threshold]
    return [
        {"index": index, "score": scores[index], **({"document": documents[index]} if with_documents else {})}
        for index in kept[: fields.get("top_k")]
    ]
