"""Downloads a model's files into the user's Hugging Face cache: resumed where they broke off, and checked."""

import hashlib
import threading
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from builders.hub import Hub, Listing, RemoteFile, quieten
from builders.hub_errors import LARGER_DISK, explained, retried, wrong_content
from builders.model_files import CONFIG, companions_of, is_index, no_weights, shards_of, weights_of
from builders.progress import Progress
from infra.errors import ExitCode, UserError
from infra.space import require_space

CHUNK_BYTES = 1 << 20
"""How much is lost when a line breaks, and how often progress is counted."""
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a commit is worth fetching. weights: the file that is the weights or lists them."""

    weights: str
    companions: tuple[RemoteFile, ...]
    shards: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in (*self.companions, *self.shards))

    @property
    def shards_bytes(self) -> int:
        return sum(file.size_bytes for file in self.shards)


def choose(hub: Hub, repository: str, listing: Listing) -> Wanted:
    """The files of a commit that loading needs; an index of weights is fetched to read it.

    Raises UserError: exit 3 for a repository that holds no model for us, 4 for the hub.
    """
    names = listing.files.keys()
    weights = weights_of(names)
    if weights is None or CONFIG not in names:
        raise no_weights(repository, names)
    shards: tuple[str, ...] = (weights,)
    companions = companions_of(names)
    if is_index(weights):
        companions = (weights, *companions)
        index = hub.into_snapshot(repository, listing.commit, weights)
        try:
            shards = shards_of(index.read_text(encoding="utf-8"), weights)
        except ValueError:
            raise _incomplete(repository, weights) from None
    if absent := set(shards) - names:
        raise _incomplete(repository, min(absent))
    files = listing.files
    return Wanted(weights, tuple(files[name] for name in companions), tuple(files[name] for name in shards))


def _incomplete(repository: str, name: str) -> UserError:
    return UserError(
        f"the weights of {repository} are incomplete: {name} is absent or broken",
        hint="choose another `revision`, or another model",
        exit_code=ExitCode.FILE,
    )


def missing_bytes(hub: Hub, repository: str, commit: str, wanted: Wanted) -> int:
    """How much would come over the network, when nothing of a broken download is left."""
    return sum(file.size_bytes for file in _missing(hub, repository, commit, wanted))


def _missing(hub: Hub, repository: str, commit: str, wanted: Wanted) -> list[RemoteFile]:
    """One file of each content that neither the snapshot nor another commit has."""
    snapshot = hub.cache.snapshot(repository, commit)
    blobs = hub.cache.storage(repository) / "blobs"
    return [
        files[0]
        for files in _by_content((*wanted.companions, *wanted.shards))
        if not (snapshot / files[0].name).is_file() and not (blobs / files[0].etag).is_file()
    ]


def download(hub: Hub, repository: str, commit: str, wanted: Wanted, progress: Progress) -> None:
    """Have every wanted file in the snapshot, with the content that the hub lists. Raises UserError.

    The weights come last, so that a snapshot that has them is whole. Files that were there are checked too, and fetched
    anew when they are damaged.
    """
    missing = _missing(hub, repository, commit, wanted)
    blobs = hub.cache.storage(repository) / "blobs"
    kept_bytes = sum(_size(_partial(blobs / file.etag)) for file in missing)
    total_bytes = sum(file.size_bytes for file in missing)
    require_space(hub.cache.root, total_bytes - kept_bytes, LARGER_DISK)
    progress.begin("downloading", total_bytes, min(kept_bytes, total_bytes))
    task = _Download(hub, repository, commit, bar_class(progress))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="download") as pool:
        for group in (wanted.companions, wanted.shards):
            futures = [pool.submit(task.fetch_all, files) for files in _by_content(group)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                task.bar.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _by_content(files: Iterable[RemoteFile]) -> Collection[list[RemoteFile]]:
    """Files of one content share a place in the cache, so no two workers may have them."""
    groups: dict[str, list[RemoteFile]] = {}
    for file in files:
        groups.setdefault(file.etag, []).append(file)
    return groups.values()


class _Bar:
    """What huggingface_hub takes for a tqdm: it counts, and it ends a download when another one has failed."""

    progress: Progress
    stopped: threading.Event

    def __init__(self, *_: Any, **__: Any) -> None:
        self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, count: float | None = 1) -> None:
        if self.stopped.is_set():
            raise _StoppedError
        self.progress.add(int(count or 0))

    def update_transfer(self, count: float | None = 1) -> None:
        """Bytes on the wire; those on disk are the ones that count."""

    def set_postfix_str(self, *_: Any, **__: Any) -> None:
        """Nothing is shown."""

    set_transfer_postfix_str = set_postfix_str

    def close(self) -> None:
        """Nothing is held."""


class _StoppedError(Exception):
    """Another download has failed, so this one is in vain."""


def bar_class(of: Progress) -> type[_Bar]:
    class Bar(_Bar):
        progress = of
        stopped = threading.Event()

    return Bar


@dataclass(frozen=True, slots=True)
class _Download:
    hub: Hub
    repository: str
    commit: str
    bar: type[_Bar]

    def fetch_all(self, files: Iterable[RemoteFile]) -> None:
        """Have some files in the snapshot, one after the other."""
        for file in files:
            self.fetch(file)

    def fetch(self, file: RemoteFile) -> None:
        """Have one file in the snapshot, with the right content."""
        pointer = self.hub.cache.snapshot(self.repository, self.commit) / file.name
        if pointer.is_file():
            if has_content(pointer, file):
                return
            self._discard(pointer)
        blob = self.hub.cache.storage(self.repository) / "blobs" / file.etag
        with explained(self.hub.endpoint, self.repository, self.commit, self.hub.cache.root):
            if not blob.is_file() and not self._comes_by_xet(file):
                self._fetch_blob(file, blob)
        self.hub.into_snapshot(self.repository, self.commit, file.name, self.bar)
        if not has_content(pointer, file):
            self._discard(pointer)
            raise wrong_content(self.repository, file.name)

    def _comes_by_xet(self, file: RemoteFile) -> bool:
        """Whether the library fetches it in its own way, which checks what comes."""
        quieten()
        from huggingface_hub import constants, get_hf_file_metadata

        if file.sha256 is None or constants.HF_HUB_DISABLE_XET or find_spec("hf_xet") is None:
            return False
        metadata = retried(
            lambda: get_hf_file_metadata(self._url(file), token=self.hub.token, endpoint=self.hub.endpoint)
        )
        return metadata.xet_file_data is not None

    def _fetch_blob(self, file: RemoteFile, blob: Path) -> None:
        """Download into the cache's place for this content; a part stays for the next run.

        huggingface_hub itself throws a part away when its process ends.
        """
        partial = _partial(blob)
        partial.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            retried(lambda: self._resume(file, partial))
            if has_content(partial, file):
                partial.replace(blob)
                return
            partial.unlink()
            self.bar.progress.add(-file.size_bytes)
        raise wrong_content(self.repository, file.name)

    def _resume(self, file: RemoteFile, partial: Path) -> None:
        quieten()
        from huggingface_hub import constants, file_download, get_token

        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        if _size(partial) > file.size_bytes:
            partial.unlink()
        token = self.hub.token or get_token()
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})}
        with partial.open("ab") as output:
            file_download.http_get(
                self._url(file),
                output,
                resume_size=output.tell(),
                headers=headers,
                expected_size=file.size_bytes,
                tqdm_class=self.bar,
            )

    def _url(self, file: RemoteFile) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, file.name, revision=self.commit, endpoint=self.hub.endpoint)

    def _discard(self, pointer: Path) -> None:
        """Remove a file from the snapshot, and its content from the cache."""
        blob = pointer.resolve()
        pointer.unlink(missing_ok=True)
        if blob.is_relative_to(self.hub.cache.root.resolve()):
            blob.unlink(missing_ok=True)


def has_content(path: Path, file: RemoteFile) -> bool:
    """Whether the file at `path` has the size and the digest that the hub lists."""
    if _size(path) != file.size_bytes:
        return False
    with path.open("rb") as content:
        if file.sha256 is not None:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
        digest = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == file.git_sha1


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
