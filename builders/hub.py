"""The model hub over the network: what a repository holds, and its files."""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.hub_cache import HubCache
from builders.hub_errors import explained, retried

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository. Exactly one digest is known: SHA-256 of a large file, git's of a small one."""

    name: str
    size_bytes: int
    sha256: str | None
    git_sha1: str | None

    @property
    def etag(self) -> str:
        """What the hub's cache calls the content."""
        digest = self.sha256 or self.git_sha1
        assert digest is not None
        return digest


@dataclass(frozen=True, slots=True)
class Listing:
    """One commit of a repository."""

    commit: str
    files: Mapping[str, RemoteFile]


@dataclass(frozen=True, slots=True)
class Hub:
    """One hub as one user sees it.

    token: None leaves it to huggingface_hub, which knows a stored login.
    """

    endpoint: str
    token: str | None
    cache: HubCache

    def listing(self, repository: str, revision: str) -> Listing:
        """Names, sizes and digests of the files at a branch, tag or commit; one request. Raises UserError."""
        quieten()
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self.token)
        with explained(self.endpoint, repository, revision, self.cache.root):
            info = retried(
                lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
            )
            return Listing(_commit(info.sha), {file.name: file for file in map(_remote_file, info.siblings or ())})

    def into_snapshot(self, repository: str, commit: str, name: str, bar: type[Any] | None = None) -> Path:
        """Have a file in the snapshot of its commit, through huggingface_hub. Raises UserError.

        bar: a class like tqdm that counts the bytes.
        """
        quieten()
        from huggingface_hub import hf_hub_download

        with explained(self.endpoint, repository, commit, self.cache.root):
            path = retried(
                lambda: hf_hub_download(
                    repository,
                    name,
                    revision=commit,
                    cache_dir=self.cache.root,
                    endpoint=self.endpoint,
                    token=self.token,
                    tqdm_class=bar,
                )
            )
            return Path(path)


def hub_of(environ: Mapping[str, str], cache: HubCache, token: str | None = None) -> Hub:
    """The hub that HF_ENDPOINT and HF_TOKEN name; `token` goes before HF_TOKEN."""
    endpoint = environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    return Hub(endpoint.rstrip("/"), token or environ.get("HF_TOKEN") or None, cache)


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether the user forbids the network, as huggingface_hub reads it."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def quieten() -> None:
    """Before huggingface_hub is imported, which reads these once: no telemetry, no bars, no words of its own."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")
    warnings.filterwarnings("ignore", module="huggingface_hub")


def _commit(sha: str | None) -> str:
    """A commit becomes a part of paths, so it must be one."""
    if sha is None or not re.fullmatch("[0-9a-f]{40}", sha):
        raise ValueError("the hub named no commit")
    return sha


def _remote_file(sibling: Any) -> RemoteFile:
    """One entry of a model's `siblings`; raises ValueError where a digest or a size is absent."""
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    git_sha1 = None if sha256 else sibling.blob_id
    if sibling.size is None or not re.fullmatch("[0-9a-f]{40,64}", sha256 or git_sha1 or ""):
        raise ValueError(f"{sibling.rfilename} has no size or no digest")
    return RemoteFile(sibling.rfilename, sibling.size, sha256, git_sha1)
