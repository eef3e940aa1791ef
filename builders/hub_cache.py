"""Where models lie on this disk, read without the hub's library: the user's Hugging Face cache and our own."""

import fcntl
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.model_files import (
    CHAT_TEMPLATES,
    CONFIG,
    has_vocabulary,
    is_index,
    is_pickle,
    shards_of,
    weights_of,
)
from infra.errors import ExitCode, UserError

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubCache:
    """The cache that huggingface_hub keeps: `models--OWNER--NAME/{refs,snapshots,blobs}`.

    The layout is documented and stable; reading it ourselves keeps a start from a full cache quick and free of network.
    """

    root: Path

    def storage(self, repository: str) -> Path:
        """The folder of one repository."""
        return self.root / "--".join(["models", *repository.split("/")])

    def commit(self, repository: str, revision: str) -> str | None:
        """The commit that a branch, tag or commit stood for when it was last fetched."""
        if _COMMIT.fullmatch(revision):
            return revision
        try:
            commit = (self.storage(repository) / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def remember(self, repository: str, revision: str, commit: str) -> None:
        """Write down which commit `revision` stands for, in one step."""
        if revision == commit:
            return
        ref = self.storage(repository) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f".{ref.name}.{os.getpid()}")
        temporary.write_text(commit, encoding="utf-8")
        temporary.replace(ref)

    def snapshot(self, repository: str, commit: str) -> Path:
        """The folder of one commit; it may hold a part of the files, or not exist."""
        return self.storage(repository) / "snapshots" / commit

    def lock(self, repository: str) -> Path:
        """Held by the one process of ours that downloads or converts this repository."""
        return self.root / ".locks" / self.storage(repository).name / "model-compose.lock"


def hub_cache(environ: Mapping[str, str], cache_dir: Path | None = None) -> HubCache:
    """The user's cache: `cache_dir`, else HF_HUB_CACHE, else `hub` in HF_HOME; as huggingface_hub finds it."""
    if cache_dir is not None:
        return HubCache(_expanded(str(cache_dir)))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return HubCache(_expanded(environ[name]))
    if environ.get("HF_HOME"):
        return HubCache(_expanded(environ["HF_HOME"]) / "hub")
    return HubCache(_user_cache(environ) / "huggingface" / "hub")


def own_cache(environ: Mapping[str, str]) -> Path:
    """Our own folder in the user's cache, for what the hub's cache has no place for."""
    return _user_cache(environ) / "model-compose"


def converted_folder(environ: Mapping[str, str], name: str, version: str) -> Path:
    """Where the safetensors made from a model's pickles belong. `name` may hold slashes."""
    return own_cache(environ) / "converted" / name / version


def _user_cache(environ: Mapping[str, str]) -> Path:
    return _expanded(environ.get("XDG_CACHE_HOME") or "~/.cache")


def _expanded(path: str) -> Path:
    try:
        return Path(os.path.expandvars(path)).expanduser().absolute()
    except RuntimeError:
        raise UserError(
            "there is no place to keep models: HOME is not set, and this user has no home folder",
            hint="set HOME, or HF_HOME and XDG_CACHE_HOME",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Wait until no other process is in a block with this lock file, then be the one that is. Raises OSError."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class LocalModel:
    """What a folder holds.

    config: config.json, None when absent or broken. weights: the file that is the weights or lists them.
    missing: what of these two is absent or broken, None when both are whole.
    """

    config: dict[str, Any] | None
    names: frozenset[str]
    weights: str | None
    missing: str | None

    @property
    def is_complete(self) -> bool:
        """Whether everything that loading needs is here, as far as names and lengths tell."""
        return self.missing is None and has_vocabulary(self.names)

    @property
    def needs_conversion(self) -> bool:
        return self.weights is not None and is_pickle(self.weights)


def inspect_folder(folder: Path) -> LocalModel:
    """Look what of a model lies in `folder`, and whether it is whole.

    Safetensors say their own length. Other files cannot; in the hub's cache a file appears only once it is whole, and
    our own downloads put the weights last.
    """
    names = frozenset(_names(folder))
    config = _read_json(folder / CONFIG)
    weights = weights_of(names)
    missing: str | None
    if config is None:
        missing = CONFIG
    elif weights is None:
        missing = "weights"
    else:
        missing = _missing_weights(folder, weights)
    return LocalModel(config, names, weights, missing)


def _missing_weights(folder: Path, weights: str) -> str | None:
    shards: tuple[str, ...] = (weights,)
    if is_index(weights):
        try:
            shards = shards_of((folder / weights).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return weights
    for shard in shards:
        path = folder / shard
        if not path.is_file() or (path.suffix == ".safetensors" and not is_whole_safetensors(path)):
            return shard
    return None


def is_whole_safetensors(path: Path) -> bool:
    """Whether the file is as long as its own header says."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                return False
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(path.stat().st_size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error):
        return False


def _names(folder: Path) -> list[str]:
    """Names of the files in `folder` and in its folder of chat templates; links that lead nowhere are no files."""
    candidates = [*folder.glob("*"), *folder.glob(f"{CHAT_TEMPLATES}/*")]
    return [path.relative_to(folder).as_posix() for path in candidates if path.is_file()]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
