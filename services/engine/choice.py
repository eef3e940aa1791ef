"""How a task's network is loaded and which runner serves it: by what it is, where it runs, and how it proved itself.

Import it in the engine's thread only: it imports torch and transformers.
"""

import logging

import torch
import transformers

from services.catalog import TASKS
from services.engine.base import AnyHost, AnyRunner, GenerationHost, GenerationRunner
from services.engine.continuous.cache import Block
from services.engine.continuous.memory import PREFIX_PART, ROWS, cache_tokens
from services.engine.continuous.network import Network, UnfitError
from services.engine.continuous.prefixes import Prefixes
from services.engine.continuous.proof import prove
from services.engine.continuous.runner import ContinuousRunner
from services.engine.continuous.scheduler import Limits
from services.engine.encoding import EncoderRunner
from services.engine.loading.attention import register_attention
from services.engine.loading.checkpoint import Checkpoint
from services.engine.loading.encoders import LoadedEncoder, load_classifier, load_embedder
from services.engine.loading.generators import LoadedModel, load_model
from services.engine.loading.packing import pack
from services.engine.sampling.sampler import is_complete_for
from services.engine.static.runner import StaticRunner
from services.settings import TaskSettings

_log = logging.getLogger(__name__)


def load(settings: TaskSettings, checkpoint: Checkpoint) -> LoadedModel | LoadedEncoder:
    """The kind of network that the task needs; raises LoadError with a sentence for the user."""
    match TASKS[settings.task].network:
        case "embedding":
            return load_embedder(settings, checkpoint)
        case "classification":
            return load_classifier(settings, checkpoint)
        case _:
            return load_model(settings, checkpoint)


def make_runner(model: LoadedModel | LoadedEncoder, settings: TaskSettings, host: AnyHost) -> AnyRunner:
    """A runner that is warm. A decoder whose rows can join and leave at any token gets the one that lets them."""
    if isinstance(model, LoadedEncoder):
        return EncoderRunner(model, host, max_rows=settings.max_concurrent_count)
    rows, coarse = settings.max_concurrent_count or ROWS, settings.quantization is not None
    batches = StaticRunner(model, host, rows=rows, coarse=coarse)
    if model.room.encoder_decoder:
        batches.warm_up()
        return batches
    register_attention()
    pack(model.network)
    try:
        if not is_complete_for(model.network.generation_config):
            raise UnfitError("its generation_config.json asks for what only generate() does")
        network = Network(model.network)
        prove(network, context=model.room.decoder, coarse=coarse)
    except UnfitError as reason:
        _log.info("%s runs in batches of generate(): %s", settings.model, reason)
        batches.warm_up()
        return batches
    limits, prefix_bytes = _measure(network, model, rows)
    if model.network.device.type == "cuda":
        try:
            return start_on_gpu(model, host, rows=rows, tokens=limits.tokens, beams=batches)
        except UnfitError as reason:
            _log.info("%s does without transformers' paged cache: %s", settings.model, reason)
    prefixes: Prefixes[Block] = Prefixes(prefix_bytes)
    return ContinuousRunner(model, network, host, limits=limits, beams=batches, prefixes=prefixes)


def start_on_gpu(
    model: LoadedModel, host: GenerationHost, *, rows: int, tokens: int, beams: GenerationRunner
) -> AnyRunner:
    """A runner with transformers' paged cache; raises UnfitError where there is none for this model."""
    try:
        from services.engine.paged import start_paged
    except ImportError as error:  # the parts of transformers that it drives may have other names in another version
        raise UnfitError(f"transformers {transformers.__version__} has no such parts as it is made of") from error
    return start_paged(model, host, rows=rows, tokens=tokens, beams=beams)


def _measure(network: Network, model: LoadedModel, rows: int) -> tuple[Limits, int]:
    """Warm all layers up, see how much a token takes, and say what the cache may hold; also the bytes for prefixes.

    Raises LoadError when there is no memory for a cache.
    """
    with torch.inference_mode():
        network.cache.reserve(1, 2)
        network.read([[0, 0]], [0], [0])
    size = network.cache.bytes_per_token
    network.cache.reset()
    limits = Limits(rows, cache_tokens(model.network.device, size, rows=rows, context=model.room.decoder))
    prefix_bytes = limits.tokens * size // PREFIX_PART
    _log.info(
        "up to %d rows at once, %d tokens in a cache of up to %.0f MB, and %.0f MB for what prompts begin with",
        limits.rows,
        limits.tokens,
        limits.tokens * size / 1e6,
        prefix_bytes / 1e6,
    )
    return limits, prefix_bytes
