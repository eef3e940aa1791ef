"""From a local folder to a model in memory: what it is, where it runs, how precisely; nothing is fetched or executed.

Import it in the engine's thread only: it imports torch and transformers.
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from services.engine.failure import DEVICE_ABSENT, MODEL_UNFIT, NO_MEMORY, LoadError
from services.engine.loading.checkpoint import Checkpoint
from services.engine.loading.libraries import plain_construction
from services.engine.loading.machine import this_processor
from services.engine.loading.precision import PACKED_BYTES, computing_type
from services.engine.loading.quantizing import quantize
from services.engine.sampling.parameters import Room
from services.settings import TaskSettings

_log = logging.getLogger(__name__)

_COUNTS_DISTANCES = 4096
"""Tokens for each half of T5 and its like, which count distances and would read any length; what they take of memory
grows with its square. They were trained on fewer and still read these."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to generate, and what tasks need to know about it.

    generation_defaults: the repository's generation_config.json, only what it says.
    placement: device, precision and threads, for the log.
    """

    network: Any
    tokenizer: Any
    model_type: str
    room: Room
    eos_token_ids: tuple[int, ...]
    generation_defaults: dict[str, Any]
    placement: str


def load_model(settings: TaskSettings, checkpoint: Checkpoint) -> LoadedModel:
    """`checkpoint` describes the settings' folder. Raises LoadError with a sentence for the user."""
    prepare_libraries(settings)
    _check_fit(checkpoint, settings)
    place = choose_place(settings, checkpoint)
    tokenizer = load_tokenizer(settings)
    network = load_network(_auto_class(checkpoint), settings, place)
    return _describe(network, tokenizer, str(place))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network computes, and how precisely. loaded: the type in which its weights are taken from the files."""

    device: torch.device
    dtype: torch.dtype
    loaded: torch.dtype
    quantization: str | None

    def __str__(self) -> str:
        precision = self.quantization or str(self.dtype).removeprefix("torch.")
        return f"{self.device}, {precision}, {torch.get_num_threads()} threads"


def prepare_libraries(settings: TaskSettings) -> None:
    """No progress bars, and as many threads as the settings say."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if settings.threads not in (None, torch.get_num_threads()):
        torch.set_num_threads(settings.threads)


def choose_place(settings: TaskSettings, checkpoint: Checkpoint) -> Place:
    """Raises LoadError when the device is not there, or the weights do not fit in its memory."""
    device = _choose_device(settings)
    if settings.quantization == "int8" and device.type != "cpu":
        raise LoadError(f"quantization: int8 runs on the processor only, not on {device}", MODEL_UNFIT)
    dtype = _choose_dtype(settings, checkpoint, device)
    loaded = getattr(torch, checkpoint.dtype) if settings.quantization else dtype
    return Place(device, dtype, loaded, settings.quantization)


def load_tokenizer(settings: TaskSettings) -> Any:
    """The tokenizer of the settings' folder."""
    return transformers.AutoTokenizer.from_pretrained(
        settings.model_path, local_files_only=True, trust_remote_code=False, use_fast=settings.fast_tokenizer
    )


def check_known(checkpoint: Checkpoint, settings: TaskSettings) -> None:
    """Raises LoadError for a type that only foreign code could load."""
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if checkpoint.model_type not in known:
        reason = (
            "runs code from its repository, which is never done here"
            if "auto_map" in checkpoint.config
            else f"is of type {checkpoint.model_type!r}, which transformers {transformers.__version__} does not know"
        )
        raise LoadError(f"{settings.model} {reason}; choose a model of a type that transformers knows", MODEL_UNFIT)


def _check_fit(checkpoint: Checkpoint, settings: TaskSettings) -> None:
    check_known(checkpoint, settings)
    causal, sequence = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    generating = {*class_names(causal), *class_names(sequence)}
    architectures = checkpoint.config.get("architectures") or []
    fits = generating & set(architectures) if architectures else checkpoint.model_type in {*causal, *sequence}
    if not fits:
        what = architectures[0] if architectures else checkpoint.model_type
        raise LoadError(
            f"{settings.model} is a {what}, which does not generate text, so it does not fit {settings.task}",
            MODEL_UNFIT,
        )


def class_names(mapping: Any) -> set[str]:
    """Of one of transformers' tables from model types to classes."""
    names: set[str] = set()
    for value in mapping.values():
        names.update([value] if isinstance(value, str) else value)
    return names


def _choose_device(settings: TaskSettings) -> torch.device:
    wanted = settings.device
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        _log.info("no GPU found, so %s runs on the processor", settings.model)
        return torch.device("cpu")
    device = torch.device(wanted)
    found = torch.cuda.device_count()
    if device.type == "cuda" and found <= (device.index or 0):
        raise _no_device(wanted, _found_cuda(found))
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise _no_device(wanted, "this is not a Mac with Metal")
    return device


def _found_cuda(count: int) -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"CUDA finds {count} GPUs, counted from cuda:0" if count else "CUDA finds no GPU"


def _no_device(wanted: str, found: str) -> LoadError:
    return LoadError(f"`device: {wanted}` cannot be had: {found}; `device: auto` takes what there is", DEVICE_ABSENT)


def _choose_dtype(settings: TaskSettings, checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    processor = this_processor() if device.type == "cpu" else None
    name = computing_type(
        settings.precision,
        settings.quantization,
        stored=checkpoint.dtype,
        parameters=checkpoint.parameters,
        processor=processor,
    )
    dtype: torch.dtype = getattr(torch, name)
    if processor is not None:
        if settings.precision == "auto" and name != "float32" and not (name == "bfloat16" and processor.fast_bfloat16):
            _log.info("%s is slow on this processor, but float32 does not fit in the memory that is free", name)
        _check_memory(settings, checkpoint, dtype, processor.available_bytes)
    return dtype


def _check_memory(settings: TaskSettings, checkpoint: Checkpoint, dtype: torch.dtype, available: int | None) -> None:
    size = PACKED_BYTES if settings.quantization == "int8" else dtype.itemsize
    needed = checkpoint.parameters * size
    if available is not None and needed > available:
        precision = settings.quantization or str(dtype).removeprefix("torch.")
        raise LoadError(
            f"{settings.model} needs {needed / 1e9:.1f} GB for its weights in {precision}, and"
            f" {available / 1e9:.1f} GB of memory is free; take a smaller model or precision: bfloat16",
            NO_MEMORY,
        )


def _auto_class(checkpoint: Checkpoint) -> Any:
    sequence = checkpoint.config.get("is_encoder_decoder") or (
        checkpoint.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        and checkpoint.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    return transformers.AutoModelForSeq2SeqLM if sequence else transformers.AutoModelForCausalLM


def load_network(auto: Any, settings: TaskSettings, place: Place, *, unused: str = "") -> Any:
    """The network that `auto`, one of transformers' automatic classes, makes of the settings' folder.

    unused: the part of a weight's name that says that nobody uses it, so that it may be absent.
    Raises LoadError when weights are absent.
    """
    with plain_construction():
        network, report = auto.from_pretrained(
            settings.model_path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=place.loaded,
            output_loading_info=True,
        )
    missing = [name for name in report["missing_keys"] if not unused or unused not in name.split(".")]
    if missing:
        raise LoadError(f"{settings.model} lacks {len(missing)} of its weights", MODEL_UNFIT)
    network = network.to(place.device).eval()
    if place.quantization == "int8":
        quantize(network)
    return network


def _describe(network: Any, tokenizer: Any, placement: str) -> LoadedModel:
    generation = network.generation_config
    if generation.eos_token_id is None:
        generation.eos_token_id = tokenizer.eos_token_id
    ends = generation.eos_token_id
    eos_token_ids = () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)
    if generation.pad_token_id is None:
        generation.pad_token_id = eos_token_ids[0] if eos_token_ids else 0
    defaults = {name: value for name, value in generation.to_dict().items() if value is not None}
    # These are resolved by us; what stays in the network's own configuration is filled in by generate().
    generation.max_length = generation.max_new_tokens = generation.min_length = generation.min_new_tokens = None
    generation.stop_strings = generation.return_dict_in_generate = None
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        model_type=network.config.model_type,
        room=room_of(network.config),
        eos_token_ids=eos_token_ids,
        generation_defaults=defaults,
        placement=placement,
    )


def room_of(config: Any) -> Room:
    """What config.json has positions for; the two halves of a Longformer encoder-decoder have numbers of their own."""
    positions = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    if not config.is_encoder_decoder:
        return Room(positions)
    writes = getattr(config, "max_decoder_position_embeddings", positions)
    reads = getattr(config, "max_encoder_position_embeddings", positions)
    return Room(writes or _COUNTS_DISTANCES, reads or _COUNTS_DISTANCES, encoder_decoder=True)
