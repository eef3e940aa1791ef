"""text-classification: which of a model's classes a text belongs to."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.engine.base import EncodingRequest
from services.engine.failure import MODEL_UNFIT, LoadError
from services.tasks.admission import Steps
from services.tasks.encoder_task import EncoderTask, Prepared, Row, Texts
from services.tasks.fields import batch_size

if TYPE_CHECKING:
    from services.engine.loading.encoders import LoadedEncoder


class Task(EncoderTask):
    """The likeliest class with its score, as transformers' pipeline computes it.

    Scores of several classes add up to 1; those of a model whose classes do not exclude each other are independent.
    """

    def setup(self, model: "LoadedEncoder") -> None:
        super().setup(model)
        classes = model.config.num_labels
        labels = self.settings.labels
        if labels is not None and len(labels) != classes:
            raise LoadError(
                f"`labels` names {len(labels)} classes, and {self.settings.model} has {classes}", MODEL_UNFIT
            )
        self._labels = labels or [str(model.config.id2label[index]) for index in range(classes)]
        self._scores = _scores_of(model)

    def prepare(self, fields: Mapping[str, Any]) -> Steps[Prepared]:
        texts, many = Texts.of(fields, "text", "text-classification")
        inputs, warnings = yield from self.encode(texts, fields)
        probabilities = bool(fields.get("return_probabilities"))

        def result(rows: Any) -> Any:
            found = [self._answer(row, probabilities=probabilities) for row in rows]
            return found if many else found[0]

        return Prepared(EncodingRequest(inputs, batch_size=batch_size(fields)), result, warnings)

    def _answer(self, row: Row, *, probabilities: bool) -> dict[str, Any]:
        scores = self._scores(row)
        best = max(range(len(scores)), key=scores.__getitem__)
        answer = {"label": self._labels[best], "label_id": best, "score": scores[best]}
        return {**answer, "probabilities": scores} if probabilities else answer


def sigmoid(logit: float) -> float:
    """Between 0 and 1, for any finite number."""
    if logit < 0:
        return math.exp(logit) / (1 + math.exp(logit))
    return 1 / (1 + math.exp(-logit))


def softmax(row: Row) -> list[float]:
    """Probabilities that add up to 1."""
    highest = max(row)
    powers = [math.exp(logit - highest) for logit in row]
    total = sum(powers)
    return [power / total for power in powers]


def _scores_of(model: "LoadedEncoder") -> Any:
    """How the logits of this model become scores."""
    problem = getattr(model.config, "problem_type", None)
    if problem == "regression":
        return list
    if problem == "multi_label_classification" or model.config.num_labels == 1:
        return lambda row: [sigmoid(logit) for logit in row]
    return softmax
