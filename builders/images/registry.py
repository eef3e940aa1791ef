"""Ships images to registries and fetches base images from them, each blob once."""

import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeVar

from builders.images.layout import Descriptor, Image, Layer, MediaType, Platform, layer_media_type
from builders.images.registry_errors import Attempts, RegistryError, retried
from builders.images.repository import CHUNK_BYTES, MAX_MANIFEST_BYTES, Body, Manifest, Registry, Repository
from builders.images.store import BlobStore, DigestError
from infra.errors import ExitCode, UserError

_WORKERS = 4
_INDEXES = (MediaType.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = (MediaType.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

T = TypeVar("T")

Count = Callable[[int], None]
"""Is told of bytes that have moved, from any thread; negative when they have to move again."""
Fate = Literal["sent", "mounted", "present"]


def _ignored(_bytes: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where an image now is, and what became of its blobs, in bytes.

    mounted: taken over from another repository of the registry. present: in the repository already.
    """

    repository: str
    tag: str
    digest: str
    sent_bytes: int
    mounted_bytes: int
    present_bytes: int


@dataclass
class Pusher:
    """Pushes images from a store to one registry. What one image has brought there, the next ones do not send again.

    count: is told of every blob's bytes, whatever becomes of them; together they are `Image.size` less the manifest.
    """

    registry: Registry
    store: BlobStore
    count: Count = _ignored
    _homes: dict[str, str] = field(default_factory=dict)
    """The repository in which each blob is known to be, by digest."""

    def push(self, image: Image, repository: str, tag: str) -> Pushed:
        """Have the image there, to the byte; raises UserError (exit 4).

        The manifest comes last, so what is pulled by that tag is whole at any moment, and an interrupted push goes on
        behind the last whole blob.
        """
        blobs = {blob.digest: blob for blob in (*(layer.descriptor for layer in image.layers), image.config_descriptor)}
        bytes_by_fate: Counter[Fate] = Counter()
        with _Crew(self.registry, repository) as crew:
            work = {crew.submit(partial(self._bring, image, blob)): blob for blob in _largest_first(blobs.values())}
            for done in as_completed(work):
                bytes_by_fate[done.result()] += work[done].size
                self._homes[work[done].digest] = repository
            crew.submit(partial(_put_manifest, image, tag)).result()
        sizes = (bytes_by_fate[fate] for fate in ("sent", "mounted", "present"))
        return Pushed(repository, tag, image.digest, *sizes)

    def _bring(self, image: Image, blob: Descriptor, at: Repository, stopped: threading.Event) -> Fate:
        """Have one blob in the repository."""
        home = self._homes.get(blob.digest)
        body = _BlobBody(partial(self._open, image, blob), blob.size, self.count, stopped)

        def attempt() -> Fate:
            if at.has_blob(blob.digest):
                return "present"
            if home is not None and at.mount_blob(blob.digest, home):
                return "mounted"
            at.put_blob(blob.digest, body)
            return "sent"

        fate = retried(attempt, stopped)
        body.count_all()
        return fate

    def _open(self, image: Image, blob: Descriptor) -> BinaryIO:
        return io.BytesIO(image.config) if blob == image.config_descriptor else self.store.open(blob.digest)


def _put_manifest(image: Image, tag: str, at: Repository, stopped: threading.Event) -> None:
    retried(lambda: at.put_manifest(tag, image.descriptor, image.manifest), stopped)


def _largest_first(blobs: Iterable[Descriptor]) -> list[Descriptor]:
    return sorted(blobs, key=lambda blob: blob.size, reverse=True)


class _StoppedError(Exception):
    """Another transfer has failed, so this one is in vain."""


class _BlobBody(Body):
    """A blob on its way: opened anew each time it is sent, and never whole in memory."""

    def __init__(self, opened: Callable[[], BinaryIO], size: int, count: Count, stopped: threading.Event) -> None:
        self._opened = opened
        self._size = size
        self._count = count
        self._stopped = stopped
        self._counted = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        self._count_up_to(0)
        with self._opened() as blob:
            while chunk := blob.read(CHUNK_BYTES):
                if self._stopped.is_set():
                    raise _StoppedError
                yield chunk
                self._count_up_to(self._counted + len(chunk))

    def count_all(self) -> None:
        """All of it is there, whether or not it was sent."""
        self._count_up_to(self._size)

    def _count_up_to(self, total: int) -> None:
        self._count(total - self._counted)
        self._counted = total


Work = Callable[[Repository, threading.Event], T]
"""What a thread does with its connection; the event says that it is in vain."""


class _Crew:
    """Threads that work on one repository, each over a connection of its own; the first failure ends all of them."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self._stopped = threading.Event()
        self._clients = [registry.repository(repository) for _ in range(_WORKERS)]
        self._free: SimpleQueue[Repository] = SimpleQueue()
        for client in self._clients:
            self._free.put(client)
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="registry")

    def submit(self, work: Work[T]) -> Future[T]:
        return self._pool.submit(self._do, work)

    def _do(self, work: Work[T]) -> T:
        client = self._free.get()
        try:
            return work(client, self._stopped)
        finally:
            self._free.put(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()


def pull(
    registry: Registry, repository: str, wanted: str, platform: Platform, store: BlobStore, count: Count = _ignored
) -> Image:
    """Have an image's blobs in the store, each with the content that its digest says; returns the image.

    wanted: a tag, or the digest of a manifest or of an index. Raises UserError (exit 4; 3 when there is no such image
    for the platform), OSError of the disk.
    """
    with _Crew(registry, repository) as crew:
        manifest = crew.submit(partial(_manifest, wanted, platform)).result()
        place = f"{registry.name}/{repository}"
        try:
            parsed = json.loads(manifest)
            config = _descriptor(parsed["config"])
            blobs = [_descriptor(layer) for layer in parsed["layers"]]
            types = [layer_media_type(blob.media_type) for blob in blobs]
        except (ValueError, KeyError, TypeError):
            raise _no_image(place) from None
        if not all(types) or config.size > MAX_MANIFEST_BYTES:
            raise _no_image(place)
        crew.submit(partial(_fetch, config, store, _ignored)).result()
        try:
            content = store.read(config.digest)
            diff_ids = json.loads(content)["rootfs"]["diff_ids"]
            layers = tuple(
                Layer(blob.digest, diff_id, blob.size, str(kind), f"base {place}")
                for blob, diff_id, kind in zip(blobs, diff_ids, types, strict=True)
            )
        except (ValueError, KeyError, TypeError):
            raise _no_image(place) from None
        for done in as_completed(
            [crew.submit(partial(_fetch, blob, store, count)) for blob in _largest_first(dict.fromkeys(blobs))]
        ):
            done.result()
    return Image(manifest, content, layers)


def _manifest(wanted: str, platform: Platform, at: Repository, stopped: threading.Event) -> bytes:
    """The manifest of that tag or digest for the platform, to the byte."""
    fetched = _checked_manifest(wanted, at, stopped)
    if fetched.media_type not in _INDEXES:
        return fetched.content
    try:
        entries = [
            (Platform.from_json(e.get("platform") or {}), e["digest"]) for e in json.loads(fetched.content)["manifests"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_image(at.explainer.place) from None
    digest = next((digest for there, digest in entries if there.serves(platform)), None)
    if digest is None:
        names = sorted({str(there) for there, _ in entries if there.architecture not in ("", "unknown")})
        raise UserError(
            f"{at.explainer.place} has no image for {platform}",
            hint=f"it has {', '.join(names)}" if names else "choose another image",
            exit_code=ExitCode.FILE,
        )
    return _checked_manifest(digest, at, stopped).content


def _checked_manifest(wanted: str, at: Repository, stopped: threading.Event) -> Manifest:
    def attempt() -> Manifest:
        found = at.manifest(wanted, (*_INDEXES, *_MANIFESTS))
        if wanted.startswith("sha256:") and found.digest != wanted:
            raise at.explainer.damaged("its manifest is not the one that was asked for")
        return found

    found = retried(attempt, stopped)
    if found.media_type not in (*_INDEXES, *_MANIFESTS):
        raise _no_image(at.explainer.place)
    return found


def _fetch(blob: Descriptor, store: BlobStore, count: Count, at: Repository, stopped: threading.Event) -> None:
    """Have one blob in the store."""
    if store.has(blob.digest, blob.size):
        count(blob.size)
        return

    def attempt() -> None:
        try:
            store.keep(_resumed(blob, count, at, stopped), blob.digest)
        except DigestError:
            count(-blob.size)
            raise at.explainer.damaged("what came is not what its digest says") from None

    retried(attempt, stopped)


def _resumed(blob: Descriptor, count: Count, at: Repository, stopped: threading.Event) -> Iterator[bytes]:
    """The content of a blob; a line that breaks is taken up again where it broke."""
    attempts = Attempts(stopped)
    came = 0
    while came < blob.size:
        try:
            for chunk in at.blob(blob, came):
                if stopped.is_set():
                    raise _StoppedError
                came += len(chunk)
                count(len(chunk))
                yield chunk
            if came < blob.size:
                raise at.explainer.broken()
        except RegistryError as error:
            attempts.wait_after(error)


def _descriptor(value: dict[str, Any]) -> Descriptor:
    """Raises ValueError, KeyError or TypeError for what is none, or leads elsewhere."""
    blob = Descriptor(value["mediaType"], value["digest"], value["size"])
    if not _DIGEST.fullmatch(blob.digest) or blob.size < 0 or value.get("urls"):
        raise ValueError(blob.digest)
    return blob


def _no_image(place: str) -> UserError:
    return UserError(
        f"{place} is no image that can be built on",
        hint="choose one whose layers are plain tar, gzip or zstd, in the format of OCI or of Docker 1.10 and newer",
        exit_code=ExitCode.FILE,
    )
