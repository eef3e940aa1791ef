"""Where models lie on this disk, read without the hub's library: the user's Hugging Face cache and our own."""

import json
import os
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from builders.model_files import (
    CHAT_TEMPLATES,
    CONFIG,
    MODULES,
    STEPS,
    has_vocabulary,
    is_index,
    is_pickle,
    shards_of,
    weights_of,
)
from infra.errors import ExitCode, UserError
from infra.files import write_whole

_CONFIGURED = (".Pooling", ".Dense")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_HEADER_BYTES = 100_000_000
"""What safetensors itself reads at most."""


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
        write_whole(ref, commit)

    def snapshot(self, repository: str, commit: str) -> Path:
        """The folder of one commit; it may hold a part of the files, or not exist."""
        return self.storage(repository) / "snapshots" / commit

    def is_absent(self, repository: str, commit: str, name: str) -> bool:
        """Whether the hub has said that this commit has no such file."""
        return self._absence(repository, commit, name).is_file()

    def remember_absent(self, repository: str, commit: str, name: str) -> None:
        """Write that down, where huggingface_hub does; a cache that cannot be written is asked about again."""
        with suppress(OSError):
            self._absence(repository, commit, name).parent.mkdir(parents=True, exist_ok=True)
            self._absence(repository, commit, name).touch()

    def _absence(self, repository: str, commit: str, name: str) -> Path:
        return self.storage(repository) / ".no_exist" / commit / name

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


def missing_step(folder: Path) -> str | None:
    """The first file that is absent of those in which sentence-transformers says what follows a network."""
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        paths = [module["path"] for module in modules if module["type"].endswith(_CONFIGURED)]
    except FileNotFoundError:
        return MODULES
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # fetching it again would not mend it
    names = (f"{path}/{CONFIG}" for path in paths)
    return next(
        (name for name in names if any(fnmatchcase(name, step) for step in STEPS) and not (folder / name).is_file()),
        None,
    )


def shard_files(folder: Path) -> list[Path]:
    """The files of weights that loading would read in `folder`; raises OSError or ValueError when it cannot be told."""
    weights = weights_of(frozenset(_names(folder)))
    if weights is None:
        raise ValueError("no weights")
    return _shards(folder, weights)


def _shards(folder: Path, weights: str) -> list[Path]:
    names = shards_of((folder / weights).read_text(encoding="utf-8"), weights) if is_index(weights) else (weights,)
    return [folder / name for name in names]


def _missing_weights(folder: Path, weights: str) -> str | None:
    try:
        shards = _shards(folder, weights)
    except (OSError, ValueError):
        return weights
    for path in shards:
        if not path.is_file() or (path.suffix == ".safetensors" and not is_whole_safetensors(path)):
            return path.name
    return None


def is_whole_safetensors(path: Path) -> bool:
    """Whether the file is as long as its own header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin, header = read_header(file, size)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(size == begin + max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def read_header(file: BinaryIO, size: int) -> tuple[int, dict[str, Any]]:
    """Where the weights of safetensors begin, and what stands before them; raises OSError or ValueError."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
    except struct.error:
        raise ValueError("too short") from None
    try:
        header = json.loads(file.read(length)) if length <= min(size, _MOST_HEADER_BYTES) else None
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(header, dict):
        raise ValueError("not a header of safetensors")
    return 8 + length, header


def _names(folder: Path) -> list[str]:
    """Names of the files in `folder` and in the folders of it that count; links that lead nowhere are no files."""
    patterns = ("*", f"{CHAT_TEMPLATES}/*", *STEPS)
    candidates = [path for pattern in patterns for path in folder.glob(pattern)]
    return [path.relative_to(folder).as_posix() for path in candidates if path.is_file()]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
