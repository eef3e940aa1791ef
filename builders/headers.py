"""Which tensors safetensors hold, read from their headers, here or on the hub, without a byte of the weights."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from builders.estimate import Facts, Tensor
from builders.hub import Hub, hub_of
from builders.hub_cache import hub_cache, read_header, shard_files
from builders.hub_errors import explained, retried
from builders.weights import ModelSource, Resolved
from infra.errors import ExitCode, UserError

_WORKERS = 4
_ROUGH_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_SIZES = {"F32": 4, "F16": 2, "BF16": 2}


def facts_of(source: ModelSource, resolved: Resolved, environ: Mapping[str, str]) -> Facts:
    """What is known of a model that `resolve` has found; of pickled weights only their size, and so roughly.

    Asks the hub for the first 100 KB of each file of weights that is still there. Raises UserError.
    """
    if resolved.converts:
        return Facts(resolved.config, [_rough(resolved.config, sum(resolved.weights.values()))], rough=True)
    if resolved.weights:
        hub = hub_of(environ, hub_cache(environ, source.cache_dir), source.token)
        return Facts(resolved.config, _on_hub(hub, source.name, resolved.revision or "main", resolved.weights))
    try:
        return Facts(resolved.config, [*chain.from_iterable(map(tensors_of, shard_files(resolved.path)))])
    except (OSError, ValueError):
        raise _damaged(source.name) from None


def tensors_of(path: Path) -> list[Tensor]:
    """The tensors of one file on this disk; raises ValueError or OSError."""
    with path.open("rb") as file:
        _, header = read_header(file, path.stat().st_size)
    return _tensors(header)


def _tensors(header: Mapping[str, Any]) -> list[Tensor]:
    try:
        return [
            Tensor(name, entry["dtype"], tuple(entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (KeyError, TypeError):
        raise ValueError("not a header of safetensors") from None


def _on_hub(hub: Hub, repository: str, commit: str, names: Iterable[str]) -> list[Tensor]:
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="headers") as pool:
        return [*chain.from_iterable(pool.map(lambda name: _in_repository(hub, repository, commit, name), names))]


def _in_repository(hub: Hub, repository: str, commit: str, name: str) -> list[Tensor]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    try:
        with explained(hub.endpoint, repository, commit, hub.cache.root):
            found = retried(lambda: api.parse_safetensors_file_metadata(repository, name, revision=commit))
    except SafetensorsParsingError:
        raise _damaged(repository) from None
    return [Tensor(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in found.tensors.items()]


def _rough(config: Mapping[str, Any], size_bytes: int) -> Tensor:
    """All weights as one tensor, in the type that config.json names."""
    named = config.get("dtype") or config.get("torch_dtype")
    dtype = _ROUGH_TYPES.get(str(named), "F32")
    return Tensor("", dtype, (size_bytes // _SIZES[dtype],))


def _damaged(model: str) -> UserError:
    return UserError(
        f"the weights of {model} are damaged: a file of safetensors has no readable header",
        hint="fetch or copy the model again, or choose another `revision`",
        exit_code=ExitCode.FILE,
    )
