"""Our own copies of the weights, by their content: each once on this disk, however many models and images hold it."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from builders.images.space import check_space
from infra.errors import ExitCode, UserError

_CHUNK_BYTES = 1 << 22
_HUB_NAMES = {40: "git", 64: "sha256"}
"""What huggingface_hub calls the content of a file by: git's own hash of a small one, sha256 of a large one."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store, which is never changed there. size: in bytes."""

    path: Path
    sha256: str
    size: int


class _Hash(Protocol):
    def update(self, data: Any, /) -> object: ...
    def hexdigest(self) -> str: ...


class FileStore:
    """Files by their sha256 in the folder `root`; safe to be used by several processes and killed at any moment.

    A file that was seen before, by its place, inode, size and time of change, is not read again.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._seen = root / "seen"

    def take(self, source: Path, name: str, advance: Callable[[int], None] = lambda _: None) -> StoredFile:
        """Have the content of `source` in the store.

        The hub's cache names a file by its content; one that has another content is refused: UserError (exit 4) with
        `name`. Files of the hub's cache are linked, because nobody changes them; others are copied.
        advance: called with the number of bytes that were read. Raises OSError.
        """
        place = source.resolve()
        state = place.stat()
        record = self._seen / _key(place, state)
        if (known := self._known(record)) is not None:
            return known
        expected = place.name if _is_blob(place) else None
        link = self._files / f"{expected}" if expected and _HUB_NAMES[len(expected)] == "sha256" else None
        self._files.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._files, prefix=".") as scratch:
            taken = Path(scratch, "file")
            if link is not None and _linked(place, taken):
                sha256, name_on_hub = _read(taken, None, advance)
            else:
                check_space(self._files, state.st_size)
                with taken.open("wb") as copy:
                    sha256, name_on_hub = _read(place, copy, advance)
            if expected is not None and expected not in (sha256, name_on_hub):
                raise _damaged(name, place)
            if link is None:
                taken.chmod(0o444)
            stored = self._files / sha256
            taken.replace(stored)
        size = stored.stat().st_size
        if size != state.st_size:
            raise _changing(name)
        self._remember(record, sha256, size)
        return StoredFile(stored, sha256, size)

    def _known(self, record: Path) -> StoredFile | None:
        try:
            kept = json.loads(record.read_text(encoding="ascii"))
            path = self._files / kept["sha256"]
            return StoredFile(path, kept["sha256"], kept["size"]) if path.stat().st_size == kept["size"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, record: Path, sha256: str, size: int) -> None:
        record.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=record.parent, prefix=".")
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump({"sha256": sha256, "size": size}, file)
        Path(temporary).replace(record)


def _key(place: Path, state: os.stat_result) -> str:
    seen = f"{place}\n{state.st_ino}\n{state.st_size}\n{state.st_mtime_ns}"
    return hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()


def _is_blob(place: Path) -> bool:
    """Whether this is the hub's cache: `models--OWNER--NAME/blobs/HASH`."""
    folder = place.parent
    return (
        folder.name == "blobs"
        and folder.parent.name.startswith("models--")
        and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", place.name) is not None
    )


def _linked(source: Path, target: Path) -> bool:
    with contextlib.suppress(OSError):  # on another disk
        os.link(source, target)
        return True
    return False


def _read(source: Path, copy: Any, advance: Callable[[int], None]) -> tuple[str, str]:
    """The sha256 of a file, and git's hash of it where it is small enough to be called so."""
    content = hashlib.sha256()
    with source.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        as_git: _Hash | None = None
        if _is_blob(source) and _HUB_NAMES[len(source.name)] == "git":
            as_git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while chunk := file.read(_CHUNK_BYTES):
            content.update(chunk)
            if as_git is not None:
                as_git.update(chunk)
            if copy is not None:
                copy.write(chunk)
            advance(len(chunk))
    return content.hexdigest(), as_git.hexdigest() if as_git else ""


def _damaged(name: str, place: Path) -> UserError:
    return UserError(
        f"{name} is damaged: its content is not what the hub lists, {place.name[:12]}...",
        hint=f"delete {place}, and repeat the command: the file is fetched again",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _changing(name: str) -> UserError:
    return UserError(
        f"{name} changed while it was read",
        hint="repeat the command when nobody writes to it",
        exit_code=ExitCode.ENVIRONMENT,
    )
