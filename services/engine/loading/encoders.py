"""From a local folder to an encoder in memory: the network, its tokenizer, and what makes its output an answer.

Import it in the engine's thread only: it imports torch and transformers.
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from services.engine.base import Pooling
from services.engine.failure import MODEL_UNFIT, LoadError
from services.engine.loading.checkpoint import Checkpoint
from services.engine.loading.generators import (
    Place,
    check_known,
    choose_place,
    class_names,
    load_network,
    load_tokenizer,
    prepare_libraries,
)
from services.engine.loading.sentence_layout import DenseLayer, SentenceLayout, class_name, read_sentence_layout
from services.settings import TaskSettings

_log = logging.getLogger(__name__)

_ACTIVATIONS = {
    "Identity": torch.nn.Identity,
    "Tanh": torch.nn.Tanh,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
    "SiLU": torch.nn.SiLU,
    "Sigmoid": torch.nn.Sigmoid,
}
_UNBOUNDED = 10**9
"""transformers says "no limit" with a larger number than this."""


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """A network that makes one row of numbers of one input.

    limit: tokens of one input, special ones included; None: no limit.
    pad_token_id: fills up shorter inputs of a batch; None: the network cannot read several at once.
    pooling: what the repository wants; None for a classifier, whose head gives one row an input.
    head: what follows the pooling, `[inputs, hidden] -> [inputs, width]`.
    prompt: stands before every text. lower_case: texts are read without capitals.
    activation: what makes a score of a pair's only logit: the class, by torch's name; None: the usual one.
    """

    network: Any
    tokenizer: Any
    limit: int | None
    pad_token_id: int | None
    pooling: Pooling | None
    placement: str
    head: Any = None
    prompt: str = ""
    lower_case: bool = False
    activation: str | None = None

    @property
    def config(self) -> Any:
        """The network's configuration, as transformers has it."""
        return self.network.config


def load_embedder(settings: TaskSettings, checkpoint: Checkpoint) -> LoadedEncoder:
    """A network whose tokens' vectors become one; raises LoadError with a sentence for the user."""
    prepare_libraries(settings)
    check_known(checkpoint, settings)
    layout = read_sentence_layout(settings.model_path, settings.model)
    _check_embeds(settings, checkpoint, layout)
    if layout is None:
        _log.warning(
            "%s has no modules.json here, which would say how its tokens' vectors become one: it is their mean",
            settings.model,
        )
        layout = SentenceLayout("mean")
    place = choose_place(settings, checkpoint)
    network = load_network(_auto_class(checkpoint), settings, place, unused="pooler")
    network.config.get_text_config().use_cache = False  # a decoder would keep what nobody goes on with
    if layout.other_prompts:
        _log.info(
            "%s knows prompts for %s; write the one you want in front of `text`",
            settings.model,
            ", ".join(layout.other_prompts),
        )
    tokenizer = load_tokenizer(settings)
    return LoadedEncoder(
        network,
        tokenizer,
        _limit(network, tokenizer, layout.max_length),
        _pad_token(network, tokenizer),
        layout.pooling,
        str(place),
        _head(layout.dense, place, settings),
        layout.prompt,
        layout.lower_case,
    )


def load_classifier(settings: TaskSettings, checkpoint: Checkpoint) -> LoadedEncoder:
    """A network with a head for classification; raises LoadError with a sentence for the user."""
    prepare_libraries(settings)
    check_known(checkpoint, settings)
    architectures = checkpoint.config.get("architectures") or []
    if not set(architectures) & class_names(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES):
        what = architectures[0] if architectures else checkpoint.model_type
        raise LoadError(
            f"{settings.model} is a {what}, which has no head for classification, so it does not fit {settings.task}",
            MODEL_UNFIT,
        )
    layout = read_sentence_layout(settings.model_path, settings.model) or SentenceLayout("mean")
    place = choose_place(settings, checkpoint)
    network = load_network(transformers.AutoModelForSequenceClassification, settings, place)
    network.config.get_text_config().use_cache = False
    tokenizer = load_tokenizer(settings)
    pad = _pad_token(network, tokenizer)
    if network.config.get_text_config().pad_token_id is None:
        network.config.get_text_config().pad_token_id = pad  # a decoder finds the last token of a row with it
    return LoadedEncoder(
        network,
        tokenizer,
        _limit(network, tokenizer, layout.max_length),
        pad,
        None,
        str(place),
        lower_case=layout.lower_case,
        activation=layout.activation or _activation(network.config),
    )


def _activation(config: Any) -> str | None:
    """What config.json says of it, in the words of either age."""
    stated = getattr(config, "sentence_transformers", None) or {}
    return class_name(stated.get("activation_fn") or getattr(config, "sbert_ce_default_activation_function", None))


def _check_embeds(settings: TaskSettings, checkpoint: Checkpoint, layout: SentenceLayout | None) -> None:
    architectures = checkpoint.config.get("architectures") or []
    if layout is None and set(architectures) & class_names(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        raise LoadError(
            f"{settings.model} is a {architectures[0]}, which generates text, and it says nowhere how to make vectors"
            " of it; take a model from the sentence-transformers library",
            MODEL_UNFIT,
        )
    reads_only = not checkpoint.config.get("is_encoder_decoder") and checkpoint.model_type in MODEL_MAPPING_NAMES
    if checkpoint.model_type not in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES and not reads_only:
        what = architectures[0] if architectures else checkpoint.model_type
        raise LoadError(f"{settings.model} is a {what}, which does not fit {settings.task}", MODEL_UNFIT)


def _auto_class(checkpoint: Checkpoint) -> Any:
    """Of an encoder-decoder such as T5 only the encoder."""
    with_encoders = checkpoint.model_type in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    return transformers.AutoModelForTextEncoding if with_encoders else transformers.AutoModel


def _limit(network: Any, tokenizer: Any, stated: int | None) -> int | None:
    """Tokens that the network has positions for, or fewer where the repository says so."""
    positions = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    for name, module in network.named_modules():  # RoBERTa and its like begin to count behind the padding's index
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions = module.num_embeddings - module.padding_idx - 1
    limits = [positions, stated, tokenizer.model_max_length]
    return min((limit for limit in limits if limit is not None and 0 < limit < _UNBOUNDED), default=None)


def _pad_token(network: Any, tokenizer: Any) -> int | None:
    pad = network.config.get_text_config().pad_token_id
    found: int | None = tokenizer.pad_token_id if pad is None else pad
    return found


def _head(layers: tuple[DenseLayer, ...], place: Place, settings: TaskSettings) -> Any:
    """The dense layers behind the pooling; None when there are none."""
    modules: list[torch.nn.Module] = []
    for layer in layers:
        if layer.activation not in _ACTIVATIONS:
            raise LoadError(
                f"{settings.model} needs the activation {layer.activation}, which is not known", MODEL_UNFIT
            )
        linear = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias)
        weights = load_file(layer.folder / "model.safetensors")
        try:
            linear.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in weights.items()})
        except RuntimeError:  # names or sizes differ
            raise LoadError(
                f"{settings.model}: the weights in {layer.folder.name} do not fit it", MODEL_UNFIT
            ) from None
        modules += [linear, _ACTIVATIONS[layer.activation]()]
    return torch.nn.Sequential(*modules).to(place.device).eval() if modules else None
