"""Finds the image that others are built on, wherever it is, and pins it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from builders.images.blobs import Advance, ignore
from builders.images.layout import BaseImage, Platform, is_digest
from builders.images.reading import NotAnImageError, chunks_of, key_of, read_layout, read_root
from builders.images.reference import Reference
from builders.images.saved import read_saved
from builders.images.store import BlobStore
from infra.errors import ExitCode, UserError

_KINDS = ("docker-daemon:", "oci:", "archive:", "tar:")
_OTHERS = "or name another base: --base docker-daemon:NAME, oci:DIR, archive:FILE, tar:FILE or REGISTRY/NAME"


def find_base(
    reference: str,
    store: BlobStore,
    *,
    platform: Platform,
    environ: Mapping[str, str],
    pinned: str | None = None,
    advance: Advance = ignore,
    expect: Advance = ignore,
) -> BaseImage:
    """The base image of that reference, its layers in the store.

    reference: an image of a registry; `docker-daemon:NAME`, one of the engine; `oci:DIR`, an OCI layout;
    `archive:FILE`, what `docker save` writes; `tar:FILE`, a root file system. A path that begins with ./ or / is a
    layout or a root.
    pinned: the digest that an earlier build found by this reference. Where the store has that base, nobody is asked; a
    registry is asked for exactly that; anything else is read anew, and the caller compares.
    advance, expect: are told of bytes that came from a registry, from any thread, and before of how many will come.

    Raises UserError: exit 3 for what is no image to build on, 4 for what cannot be reached, both naming --base.
    """
    known = store.base(key_of(pinned, platform)) if pinned else None
    if known is not None:
        return replace(known, reference=reference)
    kind, place = _split(reference)
    with _explained(reference):
        match kind:
            case "docker-daemon":
                return _from_engine(reference, place, store, platform, environ)
            case "oci":
                return read_layout(reference, _existing(place), store, platform)
            case "archive":
                with _existing(place).open("rb") as file:
                    return read_saved(reference, chunks_of(file), store, platform)
            case "tar":
                return read_root(reference, _existing(place), store, platform)
            case _:
                return _from_registry(reference, store, platform, environ, pinned, advance, expect)


def is_remote(reference: str) -> bool:
    """Whether a registry has that base, so that asking for it takes a network."""
    return _split(reference)[0] == "registry"


def located(reference: str, folder: Path) -> str:
    """The same base for who stands here, where a path in `reference` starts at `folder`."""
    kind, place = _split(reference)
    return f"{kind}:{os.path.relpath(folder / place)}" if _is_relative(reference) else reference


def seen_from(reference: str, folder: Path) -> str:
    """The same base for who stands in `folder`, so that a lock there means it wherever its project lies.

    Raises UserError (exit 2) for a file or a layout whose kind was not said, and which a registry would be asked for.
    """
    kind, place = _split(reference)
    if kind == "registry" and (Path(place).is_file() or Path(place, "oci-layout").is_file()):
        kinds = f"oci:{place}" if Path(place).is_dir() else f"tar:{place} (a root file system) or archive:{place}"
        raise UserError(
            f"{place} is here, but `--base {place}` means an image of a registry",
            hint=f"write --base {kinds}",
            exit_code=ExitCode.USAGE,
        )
    return f"{kind}:{os.path.relpath(place, folder)}" if _is_relative(reference) else reference


def _is_relative(reference: str) -> bool:
    kind, place = _split(reference)
    return kind in ("oci", "archive", "tar") and not place.startswith(("/", "~"))


def _split(reference: str) -> tuple[str, str]:
    for kind in _KINDS:
        if reference.startswith(kind):
            return kind[:-1], reference.removeprefix(kind)
    if reference.startswith(("./", "../", "/", "~")):
        return ("oci" if Path(reference).expanduser().is_dir() else "tar"), reference
    return "registry", reference


def _existing(place: str) -> Path:
    path = Path(place).expanduser()
    if not path.exists():
        raise NotAnImageError("there is no such file or folder")
    return path


@contextmanager
def _explained(reference: str) -> Iterator[None]:
    try:
        yield
    except NotAnImageError as error:
        raise UserError(
            f"{reference} is no base to build on: {error}", hint=f"mend it, {_OTHERS}", exit_code=ExitCode.FILE
        ) from None


def _from_engine(
    reference: str, name: str, store: BlobStore, platform: Platform, environ: Mapping[str, str]
) -> BaseImage:
    from infra.docker.engine import connect

    found = name if is_digest(name) else Reference.parse(name).familiar
    with _remedied(), closing(connect(environ)) as engine:
        known = store.base(key_of(engine.images.id(found), platform))
        if known is not None:
            return replace(known, reference=reference)
        return read_saved(reference, engine.images.save(found), store, platform)


def _from_registry(
    reference: str,
    store: BlobStore,
    platform: Platform,
    environ: Mapping[str, str],
    pinned: str | None,
    advance: Advance,
    expect: Advance,
) -> BaseImage:
    from builders.images.registry import pull

    named = Reference.parse(reference)
    with _remedied():
        base = pull(named.pinned(pinned) if pinned else named, store, platform, environ, advance, expect)
    return replace(base, reference=reference)


@contextmanager
def _remedied() -> Iterator[None]:
    """Name the option in what goes wrong within."""
    try:
        yield
    except UserError as error:
        hint = f"{error.hint}, {_OTHERS}" if error.hint else _OTHERS
        raise UserError(error.message, hint=hint, exit_code=error.exit_code) from None
