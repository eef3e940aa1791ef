"""Whether a model fits its task, told from config.json before anything large is fetched."""

import re
from collections.abc import Mapping
from typing import Any

from infra.errors import ExitCode, UserError

_GENERATES = re.compile(r"(ForCausalLM|LMHeadModel|WithLMHead(Model)?|ForConditionalGeneration)$")
_OTHER_PURPOSES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "text-embedding",
    "ForPreTraining": "text-embedding",
    "Model": "text-embedding",
}
_WITHOUT_TEXT_INPUT = {
    "blip": "images",
    "blip-2": "images",
    "moonshine": "speech",
    "pix2struct": "images",
    "speech_to_text": "speech",
    "whisper": "speech",
}
_GENERATING_TASKS = ("chat-completion", "text-generation")
_CHOOSES_CODE = "_attn_implementation_internal"


def check_fit(config: Mapping[str, Any], *, model: str, task: str) -> None:
    """Raise UserError (exit 3) when the model of this config.json cannot do `task`.

    What only the loader can know, such as a model type that transformers does not have, passes.
    """
    if _mentions(config, _CHOOSES_CODE):
        raise UserError(
            f"{model} is refused: its config.json sets `{_CHOOSES_CODE}`, which would load code from elsewhere",
            hint="use a model from a source that you trust, or remove that key from a local copy",
            exit_code=ExitCode.FILE,
        )
    if task not in _GENERATING_TASKS or "auto_map" in config:
        return
    if reads := _WITHOUT_TEXT_INPUT.get(str(config.get("model_type"))):
        raise _misfit(f"{model} reads {reads}, not text, so it does not fit {task}")
    architectures = [name for name in config.get("architectures") or () if isinstance(name, str)]
    if architectures and not any(_GENERATES.search(name) for name in architectures):
        name = architectures[0]
        purpose = next((purpose for ending, purpose in _OTHER_PURPOSES.items() if name.endswith(ending)), None)
        fits = f"fits {purpose}" if purpose else "generates no text"
        raise _misfit(f"{model} does not fit {task}: it is a {name}, which {fits}")


def _misfit(message: str) -> UserError:
    return UserError(
        message,
        hint="choose a model that generates text, such as HuggingFaceTB/SmolLM3-3B",
        exit_code=ExitCode.FILE,
    )


def _mentions(config: Any, key: str) -> bool:
    """Whether `key` stands anywhere in it; the parts of a composed model have configurations of their own."""
    match config:
        case Mapping():
            return key in config or any(_mentions(value, key) for value in config.values())
        case list():
            return any(_mentions(value, key) for value in config)
        case _:
            return False
