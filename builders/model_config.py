"""Whether a model fits its task, told from config.json before anything large is fetched."""

import re
from collections.abc import Mapping
from typing import Any

from infra.errors import ExitCode, UserError
from services.catalog import TASKS, Network

_CAUSAL = re.compile(r"(ForCausalLM|(?<!With)LMHeadModel)$")
_SEQUENCE = re.compile(r"(ForConditionalGeneration|WithLMHead(Model)?|MTModel)$")
_CLASSIFIES = re.compile(r"ForSequenceClassification$")
_OTHER_PURPOSES = {
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
_CHOOSES_CODE = "_attn_implementation_internal"
_EXAMPLES: Mapping[Network, str] = {
    "text": "choose a model that generates text, such as HuggingFaceTB/SmolLM3-3B",
    "sequence-to-sequence": "choose a model with an encoder and a decoder, such as google/flan-t5-small",
    "embedding": "choose a model that makes vectors, such as sentence-transformers/all-MiniLM-L6-v2",
    "classification": "choose a model with a head for classification, such as cross-encoder/ms-marco-MiniLM-L6-v2",
}


def check_fit(config: Mapping[str, Any], *, model: str, task: str, labels: int | None = None) -> None:
    """Raise UserError (exit 3) when the model of this config.json cannot do `task`.

    What only the loader can know, such as a model type that transformers does not have, passes.

    labels: how many classes the file gives names to; None: none.
    """
    if _mentions(config, _CHOOSES_CODE):
        raise UserError(
            f"{model} is refused: its config.json sets `{_CHOOSES_CODE}`, which would load code from elsewhere",
            hint="use a model from a source that you trust, or remove that key from a local copy",
            exit_code=ExitCode.FILE,
        )
    if "auto_map" in config:
        return
    network = TASKS[task].network
    if reads := _WITHOUT_TEXT_INPUT.get(str(config.get("model_type"))):
        raise _misfit(f"{model} reads {reads}, not text, so it does not fit {task}", network)
    architectures = [name for name in config.get("architectures") or () if isinstance(name, str)]
    if not architectures or any(_serves(name, network) for name in architectures):
        if architectures and network == "classification":
            _check_classes(_classes(config), model, task, labels)
        return
    purpose = _purpose(architectures[0])
    what = f"which fits {purpose}" if purpose else "which no task here can use"
    raise _misfit(f"{model} does not fit {task}: it is a {architectures[0]}, {what}", network)


def _check_classes(classes: int, model: str, task: str, labels: int | None) -> None:
    if labels is not None and labels != classes:
        raise UserError(
            f"`labels` names {labels} classes, and {model} has {classes}",
            hint="name every class in the order of the model's own, or leave `labels` out",
            exit_code=ExitCode.FILE,
        )
    if task == "text-reranking" and classes > 2:
        raise _misfit(
            f"{model} tells {classes} classes apart, so it does not fit {task}, which wants one score", "classification"
        )


def _classes(config: Mapping[str, Any]) -> int:
    """As transformers counts them: it writes nothing down where there are two."""
    names = config.get("id2label")
    if isinstance(names, Mapping):
        return len(names)
    number = config.get("num_labels")
    return number if isinstance(number, int) else 2


def _serves(architecture: str, network: Network) -> bool:
    """Whether a network of this class may do; one that generates text makes vectors only with its own pooling."""
    match network:
        case "text":
            return bool(_CAUSAL.search(architecture) or _SEQUENCE.search(architecture))
        case "sequence-to-sequence":
            return bool(_SEQUENCE.search(architecture))
        case "classification":
            return bool(_CLASSIFIES.search(architecture))
        case "embedding":
            return _purpose(architecture) in ("text-embedding", "text-generation", "text-to-text")


def _purpose(architecture: str) -> str | None:
    """What a network of this class is for, by the name of a task; None when it has nothing to do with text."""
    if _CAUSAL.search(architecture):
        return "text-generation"
    if _SEQUENCE.search(architecture):
        return "text-to-text"
    if _CLASSIFIES.search(architecture):
        return "text-classification"
    return next((purpose for ending, purpose in _OTHER_PURPOSES.items() if architecture.endswith(ending)), None)


def _misfit(message: str, network: Network) -> UserError:
    return UserError(message, hint=_EXAMPLES[network], exit_code=ExitCode.FILE)


def _mentions(config: Any, key: str) -> bool:
    """Whether `key` stands anywhere in it; the parts of a composed model have configurations of their own."""
    match config:
        case Mapping():
            return key in config or any(_mentions(value, key) for value in config.values())
        case list():
            return any(_mentions(value, key) for value in config)
        case _:
            return False
