"""Ships images to registries and fetches base images from them, each blob once."""

import io
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Literal

from builders.images.blobs import Advance, ignore
from builders.images.compressing import Compression
from builders.images.crew import BlobBody, Crew, StoppedError
from builders.images.layout import BaseImage, Descriptor, Image, Platform, is_digest
from builders.images.reading import (
    BROKEN_JSON,
    INDEXES,
    MANIFESTS,
    NotAnImageError,
    checked_config,
    checked_size,
    choose_manifest,
    key_of,
    layers_of,
)
from builders.images.reference import Reference
from builders.images.registry_errors import Attempts, RegistryError, retried
from builders.images.repository import MAX_MANIFEST_BYTES, Manifest, Registry, Repository
from builders.images.space import check_space
from builders.images.store import BlobStore, DigestError

Fate = Literal["sent", "mounted", "present"]


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
    """Pushes images from a store to one registry. What one image has brought there, the next ones do not send again."""

    registry: Registry
    store: BlobStore
    _homes: dict[str, str] = field(default_factory=dict)
    """The repository in which each blob is known to be, by digest."""

    def push(self, image: Image, repository: str, tag: str, advance: Advance = ignore) -> Pushed:
        """Have the image there, to the byte; raises UserError (exit 4).

        advance: is told of every blob's bytes from any thread, whatever becomes of them, and of negative ones that are
        sent again; together they are the image's `size` without its manifest.

        The manifest comes last, so what is pulled by that tag is whole at any moment, and an interrupted push goes on
        behind the last whole blob.
        """
        blobs = {blob.digest: blob for blob in (*(layer.descriptor for layer in image.layers), image.config_descriptor)}
        bytes_by_fate: Counter[Fate] = Counter()
        with Crew(self.registry, repository) as crew:
            work = {
                crew.submit(partial(self._bring, image, blob, advance)): blob for blob in _largest_first(blobs.values())
            }
            for done in as_completed(work):
                bytes_by_fate[done.result()] += work[done].size
                self._homes[work[done].digest] = repository
            crew.submit(partial(_put_manifest, image, tag)).result()
        sizes = (bytes_by_fate[fate] for fate in ("sent", "mounted", "present"))
        return Pushed(repository, tag, image.digest, *sizes)

    def _bring(
        self, image: Image, blob: Descriptor, advance: Advance, at: Repository, stopped: threading.Event
    ) -> Fate:
        """Have one blob in the repository."""
        home = self._homes.get(blob.digest)
        body = BlobBody(partial(self._open, image, blob), blob.size, advance, stopped)

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


def compressed(image: Image, store: BlobStore, compression: Compression) -> Image:
    """The image with compressed layers: another digest, the same config.

    Layers that the store keeps as files that lie elsewhere, which are weights, stay as they are: they would hardly get
    smaller, and cost the disk a copy. Raises UserError (exit 4) for a disk that is too small, OSError of the disk.
    """
    apart = {layer.digest for layer in image.layers if store.path(layer.digest) is None}
    return image.with_layers(
        [layer if layer.digest in apart else store.compressed(layer, compression) for layer in image.layers]
    )


def _put_manifest(image: Image, tag: str, at: Repository, stopped: threading.Event) -> None:
    retried(lambda: at.put_manifest(tag, image.descriptor, image.manifest), stopped)


def _largest_first(blobs: Iterable[Descriptor]) -> list[Descriptor]:
    return sorted(blobs, key=lambda blob: blob.size, reverse=True)


def pull(
    reference: Reference,
    store: BlobStore,
    platform: Platform,
    environ: Mapping[str, str],
    advance: Advance = ignore,
    expect: Advance = ignore,
) -> BaseImage:
    """Have a base image's layers in the store, each with the content that its digest says.

    A reference by a digest that is here already needs no network. advance: is told of bytes that came, from any
    thread; expect: once before, of how many are missing. Raises NotAnImageError, UserError (exit 4), and
    OSError of the disk.
    """
    if reference.digest and (known := store.base(key_of(reference.digest, platform))) is not None:
        return known
    registry = Registry.connect(reference.registry, environ)
    try:
        with Crew(registry, reference.repository) as crew:
            wanted = reference.digest or reference.tag or "latest"
            manifest = crew.submit(partial(_manifest, wanted, platform)).result()
            base = store.base(key_of(manifest.digest, platform)) or _describe(
                reference, manifest, store, platform, crew
            )
            missing = {layer.descriptor for layer in base.layers if not store.has(layer.digest, layer.size)}
            missing_bytes = sum(blob.size for blob in missing)
            check_space(store.root, missing_bytes)
            expect(missing_bytes)
            work = [crew.submit(partial(_fetch, blob, store, advance)) for blob in _largest_first(missing)]
            for done in as_completed(work):
                done.result()
    except DigestError:
        raise NotAnImageError("it has a blob whose digest is none of SHA-256") from None
    for digest in {manifest.digest, reference.digest or manifest.digest}:
        store.save_base(key_of(digest, platform), base)
    return base


def _describe(reference: Reference, manifest: Manifest, store: BlobStore, platform: Platform, crew: Crew) -> BaseImage:
    """What a manifest and its config say; the layers need not be here yet."""
    try:
        parsed = json.loads(manifest.content)
        blob = Descriptor(parsed["config"]["mediaType"], parsed["config"]["digest"], checked_size(parsed["config"]))
        if blob.size > MAX_MANIFEST_BYTES:
            raise NotAnImageError("its config is too large")
        crew.submit(partial(_fetch, blob, store, ignore)).result()
        config = json.loads(store.read(blob.digest))
        layers = layers_of(parsed, config)
        return BaseImage(str(reference), manifest.digest, checked_config(config, platform), layers)
    except BROKEN_JSON:
        raise NotAnImageError("its manifest or its config is broken") from None


def _manifest(wanted: str, platform: Platform, at: Repository, stopped: threading.Event) -> Manifest:
    """The manifest of that tag or digest for the platform."""

    def attempt(wanted: str) -> Manifest:
        found = at.manifest(wanted, (*INDEXES, *MANIFESTS))
        if wanted.startswith("sha256:") and found.digest != wanted:
            raise at.explainer.damaged("the manifest", "it is not the one that was asked for")
        return found

    found = retried(partial(attempt, wanted), stopped)
    if found.media_type in INDEXES:
        try:
            digest = choose_manifest(json.loads(found.content), platform)["digest"]
            if not is_digest(digest):
                raise ValueError
        except BROKEN_JSON:
            raise NotAnImageError("its index is broken") from None
        found = retried(partial(attempt, digest), stopped)
    if found.media_type not in MANIFESTS:
        raise NotAnImageError(f"it is of the kind {found.media_type!r}")
    return found


def _fetch(blob: Descriptor, store: BlobStore, advance: Advance, at: Repository, stopped: threading.Event) -> None:
    """Have one blob in the store."""
    if store.has(blob.digest, blob.size):
        return

    def attempt() -> None:
        try:
            store.keep(_resumed(blob, advance, at, stopped), blob.digest)
        except DigestError:
            advance(-blob.size)
            raise at.explainer.damaged("a layer", "what came is not what its digest says") from None

    retried(attempt, stopped)


def _resumed(blob: Descriptor, advance: Advance, at: Repository, stopped: threading.Event) -> Iterator[bytes]:
    """The content of a blob; a line that breaks is taken up again where it broke."""
    attempts = Attempts(stopped)
    came = 0
    while came < blob.size:
        try:
            for chunk in at.blob(blob, came):
                if stopped.is_set():
                    raise StoppedError
                came += len(chunk)
                advance(len(chunk))
                yield chunk
            if came < blob.size:
                raise at.explainer.broken()
        except RegistryError as error:
            attempts.wait_after(error)
