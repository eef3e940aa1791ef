"""text-to-text, summarization, translation: an encoder reads a text, a decoder writes another one."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from services.engine.failure import MODEL_UNFIT, LoadError
from services.tasks.base import GenerationTask, Input, Inputs
from services.tasks.fields import missing, not_unicode

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

_OF_MANY_LANGUAGES = ("m2m_100", "mbart", "nllb-moe")
"""Types of models whose decoder is told by its first token in which language to write."""


class Task(GenerationTask):
    """One text for each text given; the likeliest one, unless the action or the repository asks for sampling.

    What config.json keeps in `task_specific_params` under exactly this task's name, as the T5 family does, counts as
    the model's own defaults, and its `prefix` comes before every text.
    """

    samples: ClassVar[bool] = False

    def setup(self, model: "LoadedModel") -> None:
        if not model.room.encoder_decoder:
            raise LoadError(
                f"{self.settings.model} has no encoder, so it does not fit {self.settings.task}; use text-generation",
                MODEL_UNFIT,
            )
        if _lacks_language(model):
            raise LoadError(
                f"{self.settings.model} writes many languages, and its files do not say which one; name it with"
                " `forced_bos_token_id` in the generation_config.json of a copy",
                MODEL_UNFIT,
            )
        own = dict(_own_parameters(model, self.settings.task))
        self._prefix = str(own.pop("prefix", ""))
        super().setup(dataclasses.replace(model, generation_defaults={**model.generation_defaults, **own}))

    def read(self, fields: Mapping[str, Any]) -> Inputs:
        given = fields.get("text")
        if given is None:
            raise missing(self.settings.task, "text")
        many = isinstance(given, list)
        return Inputs([self._read_one(text) for text in (given if many else [given])], many, "text")

    def _read_one(self, text: str) -> Input:
        try:
            return Input(self.model.tokenizer.encode(self._prefix + text))
        except (UnicodeEncodeError, TypeError):
            raise not_unicode("text") from None


def _lacks_language(model: "LoadedModel") -> bool:
    """Whether nothing tells a decoder of many languages which one to write: it begins as every text ends."""
    defaults = model.generation_defaults
    return (
        model.model_type in _OF_MANY_LANGUAGES
        and defaults.get("forced_bos_token_id") is None
        and defaults.get("decoder_start_token_id") in (None, *model.eos_token_ids)
    )


def _own_parameters(model: "LoadedModel", task: str) -> Mapping[str, Any]:
    """Of the repository, for this task alone."""
    every = getattr(model.network.config, "task_specific_params", None)
    own = every.get(task) if isinstance(every, Mapping) else None
    return {name: value for name, value in own.items() if value is not None} if isinstance(own, Mapping) else {}
