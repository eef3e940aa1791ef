"""Our own copies of the weights, by their content: each once on this disk, however many models and images hold it."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.images.blobs import Begun, sweep
from builders.images.space import check_space
from infra.errors import ExitCode, UserError
from infra.locks import alone_in

_CHUNK_BYTES = 1 << 22
_HASHES = {40: "git", 64: "sha256"}
"""What huggingface_hub calls the content of a file by: git's own hash of a small one, sha256 of a large one."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store, which is never changed there. size: in bytes."""

    path: Path
    sha256: str
    size: int


class FileStore:
    """Files by their sha256 in the folder `root`; safe to be used by several processes and killed at any moment.

    A file that was seen before, by its place, inode, size and times of change, is not read again.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._seen = root / "seen"
        self._swept = False

    def take(self, source: Path, name: str, advance: Callable[[int], None] = lambda _: None) -> StoredFile:
        """Have the content of `source` in the store.

        The hub's cache names a file by its content; one that has another content is refused: UserError (exit 4) with
        `name`. Large files of the hub's cache are linked, because nobody changes them; others are copied. A file that
        is in the store already stays as it is, because layers know it by its time of change.
        advance: called with the number of bytes that were read. Raises OSError.
        """
        place = source.resolve()
        before = place.stat()
        if (known := self._known(self._record(place, before))) is not None:
            return known
        self._prepare()
        take = self._link if self._can_link(place, before) else self._copy
        sha256 = take(place, name, advance)
        after = place.stat()  # a link to a file counts as a change of its state, not of its content
        if _content_of(after) != _content_of(before):
            raise _changing(name)
        self._remember(self._record(place, after), sha256, after.st_size)
        return StoredFile(self._files / sha256, sha256, after.st_size)

    def check_room(self, sources: Iterable[Path]) -> None:
        """Raise UserError (exit 4) where the disk has no room for those of the files that are to be copied; OSError."""
        self._prepare()
        places = [(place, place.stat()) for place in map(Path.resolve, sources)]
        copied = (
            state.st_size
            for place, state in places
            if self._known(self._record(place, state)) is None and not self._can_link(place, state)
        )
        check_space(self._files, sum(copied))

    def _prepare(self) -> None:
        if not self._swept:
            self._files.mkdir(parents=True, exist_ok=True)
            self._seen.mkdir(parents=True, exist_ok=True)
            sweep(self._files)
            sweep(self._seen)
            self._swept = True

    def _can_link(self, place: Path, state: os.stat_result) -> bool:
        return _named_by(place) == "sha256" and self._files.stat().st_dev == state.st_dev

    def _link(self, place: Path, name: str, advance: Callable[[int], None]) -> str:
        sha256 = hashlib.sha256()
        for chunk in _chunks(place, advance):
            sha256.update(chunk)
        if sha256.hexdigest() != place.name:
            raise _damaged(name, place)
        try:
            with self._unless_stored(place.name, place.stat().st_size) as stored:
                if stored is not None:
                    stored.unlink(missing_ok=True)
                    os.link(place, stored)
        except OSError:  # not every disk has links, nor may everybody link to the files of others
            return self._copy(place, name, lambda _: None)
        return place.name

    def _copy(self, place: Path, name: str, advance: Callable[[int], None]) -> str:
        as_git = _git_hash(place.stat().st_size) if _named_by(place) == "git" else None
        with Begun(self._files) as begun:
            for chunk in _chunks(place, advance):
                begun.write(chunk)
                if as_git is not None:
                    as_git.update(chunk)
            sha256 = begun.digest.removeprefix("sha256:")
            if _named_by(place) and place.name != (as_git.hexdigest() if as_git is not None else sha256):
                raise _damaged(name, place)
            with self._unless_stored(sha256, begun.size) as stored:
                if stored is not None:
                    begun.place(stored)
        return sha256

    @contextlib.contextmanager
    def _unless_stored(self, sha256: str, size: int) -> Iterator[Path | None]:
        """Where that content belongs, held against other processes; None when it is there."""
        with alone_in(self._files):
            stored = self._files / sha256
            yield None if _is_whole(stored, size) else stored

    def _record(self, place: Path, state: os.stat_result) -> Path:
        seen = f"{place}\n{state.st_ino}\n{state.st_size}\n{state.st_mtime_ns}\n{state.st_ctime_ns}"
        return self._seen / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()

    def _known(self, record: Path) -> StoredFile | None:
        try:
            kept = json.loads(record.read_text(encoding="ascii"))
            path = self._files / kept["sha256"]
            return StoredFile(path, kept["sha256"], kept["size"]) if _is_whole(path, kept["size"]) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, record: Path, sha256: str, size: int) -> None:
        with Begun(self._seen) as begun:
            begun.write(json.dumps({"sha256": sha256, "size": size}).encode("ascii"))
            begun.place(record)


def _content_of(state: os.stat_result) -> tuple[int, int, int]:
    """What changes when the content does."""
    return state.st_ino, state.st_size, state.st_mtime_ns


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _named_by(place: Path) -> str | None:
    """The hash that names a file of the hub's cache, `models--OWNER--NAME/blobs/HASH`; None for other files."""
    folder = place.parent
    if folder.name == "blobs" and folder.parent.name.startswith("models--") and re.fullmatch("[0-9a-f]+", place.name):
        return _HASHES.get(len(place.name))
    return None


def _git_hash(size: int) -> "hashlib._Hash":
    """What git calls a file of `size` bytes by, once it was given them."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _chunks(source: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            advance(len(chunk))


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
