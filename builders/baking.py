"""Turns a model's folder into layers that are the same for the same weights, whoever bakes them and for which task."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Final

from builders.file_store import FileStore, StoredFile
from builders.hub_cache import inspect_folder, shard_files
from builders.images.tar import File, Link, Tree
from builders.model_files import companions_of, is_index, no_weights
from infra.errors import ExitCode, UserError

MODELS: Final = "/models"
LARGE_BYTES: Final = 8 << 20
"""A file of this size has a layer of its own, so that another commit of the model sends only what it changed."""
MOST_LAYERS: Final = 64
_LARGE_PURPOSE: Final = "weights: "
_SMALL_PURPOSE: Final = "the small files of the model"
_KEY_BYTES = 64 << 10
"""What a file of credentials is smaller than."""


@dataclass(frozen=True)
class WeightsSet:
    """The files of one model, by their path in its folder, sorted."""

    files: tuple[tuple[str, StoredFile], ...]

    @cached_property
    def digest(self) -> str:
        """Names the set, however it is packed: sha256 over its lines `sha256  path`, as sha256sum writes them."""
        lines = "".join(f"{file.sha256}  {name}\n" for name, file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def tensors(self) -> tuple[StoredFile, ...]:
        """The files of the weights themselves, without tokenizers and the like."""
        return tuple(file for name, file in self.files if name.endswith(".safetensors"))

    @property
    def weights_bytes(self) -> int:
        return sum(file.size for file in self.tensors)

    @property
    def folder(self) -> str:
        """Where an image has it."""
        return f"{MODELS}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer to be: what it is for, a digest of all that makes it, and what it holds."""

    purpose: str
    key: str
    tree: Tree


def read_set(
    folder: Path,
    model: str,
    store: FileStore,
    advance: Callable[[int], None] = lambda _: None,
    only: Collection[str] = (),
) -> WeightsSet:
    """Take what loading needs of a model's folder into the store. Its weights are safetensors by now.

    model: how messages call it. only: of the files beside the weights, those; empty: all.
    Raises UserError: exit 3 for a folder that is no whole model, or that reaches out of itself; 4 for a file whose
    content is not the hub's, and for a disk that is too small. Raises OSError.
    """
    files = sorted(_files(folder, model, only))
    store.check_room(source for _, source in files)
    return WeightsSet(tuple((name, store.take(source, f"{name} of {model}", advance)) for name, source in files))


def set_bytes(folder: Path, model: str, only: Collection[str] = ()) -> int:
    """How large a set would be, for a progress and a disk. Raises UserError as `read_set` does, and OSError."""
    return sum(path.stat().st_size for _, path in _files(folder, model, only))


def _files(folder: Path, model: str, only: Collection[str]) -> Iterator[tuple[str, Path]]:
    found = inspect_folder(folder)
    if found.weights is None or found.needs_conversion:
        raise no_weights(model, found.names)
    if found.missing is not None:
        raise _refused(f"{model} is not a whole model: {found.missing} is absent or broken", "download it again")
    shards = [path.name for path in shard_files(folder)]
    index = [found.weights] if is_index(found.weights) else []
    companions = [name for name in companions_of(found.names) if not only or name in only]
    for name in {*shards, *index, *companions}:
        if not name.isprintable() or "\\" in name:
            raise _refused(f"{model} has a file of the name {name!r}, which no image may hold", "rename it")
        place = _within(folder, name, model)
        if _is_credential(place):
            raise _refused(f"{name} of {model} holds a private key, and is not put into an image", "move it elsewhere")
        yield name, place


def _within(folder: Path, name: str, model: str) -> Path:
    """The file itself. In the hub's cache it lies among the repository's blobs; no other link may leave its folder."""
    root, place = folder.resolve(), (folder / name).resolve()
    blobs = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    if place.is_relative_to(root) or place.parent == blobs:
        return place
    raise _refused(
        f"{name} of {model} is a link out of its folder, and is not put into an image",
        "put the file itself there",
    )


def _is_credential(place: Path) -> bool:
    """Whether this is what clouds give for an account: JSON with a private key in it."""
    if place.stat().st_size > _KEY_BYTES:
        return False
    content = place.read_bytes()
    if b'"private_key"' not in content:
        return False
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, dict) and isinstance(value.get("private_key"), str)  # in a vocabulary, it is a number


def pack(weights: WeightsSet) -> list[Packed]:
    """The layers of a set, large files first.

    A large file lies under its own digest in `/models/blobs`, and the set has a link to it: so another set that holds
    the same file, under whatever name, shares the layer. There are at most 64; where more files are large, some share.
    """
    large = {file.sha256: file for _, file in weights.files if file.size >= LARGE_BYTES}
    names = {file.sha256: name for name, file in reversed(weights.files)}
    layers = [
        _of_blobs([large[digest] for digest in group], names[group[0]])
        for group in _groups(sorted(large), MOST_LAYERS - 1)
    ]
    bundle = {
        f"{weights.folder}/{name}": (
            Link(_up(name) + f"blobs/{file.sha256}") if file.size >= LARGE_BYTES else File(file.path, lasting=True)
        )
        for name, file in weights.files
    }
    return [
        *layers,
        Packed(_SMALL_PURPOSE, _key("bundle", MODELS, weights.digest, LARGE_BYTES), bundle),
    ]


def is_weights(purpose: str) -> bool:
    """Whether a layer of that purpose is one of `pack`."""
    return purpose == _SMALL_PURPOSE or purpose.startswith(_LARGE_PURPOSE)


def _groups(digests: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    size = max(1, ceil(len(digests) / most))
    return (digests[start : start + size] for start in range(0, len(digests), size))


def _of_blobs(files: Sequence[StoredFile], first: str) -> Packed:
    """first: the name of the first of the files in the set."""
    tree: Tree = {f"{MODELS}/blobs/{file.sha256}": File(file.path, lasting=True) for file in files}
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return Packed(f"{_LARGE_PURPOSE}{first}{more}", _key("blobs", MODELS, *(file.sha256 for file in files)), tree)


def _up(name: str) -> str:
    """From the folder of a file in a set to `/models`."""
    return "../" * (1 + name.count("/"))


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _refused(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.FILE)
