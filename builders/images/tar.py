"""Writes a layer's tar so that equal files give equal bytes, whoever writes them, when and in which order."""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from infra.errors import ExitCode, UserError

CHUNK_BYTES = 1 << 20
WHITEOUT = ".wh."
"""What a name in a layer begins with when a file of the layers below is removed."""
END = bytes(2 * tarfile.BLOCKSIZE)
"""What stands at the end of a tar."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a layer.

    source: its content, or where that lies. lasting: the file at `source` is never changed or removed while the store
    lives, so that a layer may refer to it instead of holding a copy.
    """

    source: bytes | Path
    executable: bool = False
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of a layer."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a layer that may be empty; those above a file need not be named.

    shared: everybody may write to it, as to /tmp.
    """

    shared: bool = False


Entry = File | Link | Folder
Tree = Mapping[str, Entry]
"""What a layer holds, by path in the image: `/opt/x/y` and `opt/x/y` are the same."""


class Sink(Protocol):
    """Where a tar goes to, piece by piece."""

    def write(self, data: bytes, /) -> object: ...

    def write_file(self, source: Path, size: int, /) -> object:
        """Take the first `size` bytes of the file; raises ChangedError when it has another length."""


class ChangedError(Exception):
    """A file became another one while it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


def write_tar(tree: Tree, sink: Sink, *, mtime: int = 0) -> None:
    """Write the tar of `tree`: PAX, sorted, owned by root, 0644 or 0755, no extended attributes.

    mtime: in seconds, of every entry. Raises UserError (exit 3) for a path that no layer may hold, ChangedError, and
    OSError for what cannot be read.
    """
    for path, entry in sorted(_with_parents(tree).items()):
        info = tarfile.TarInfo(path)
        info.mtime = mtime
        match entry:
            case Folder(shared):
                info.type, info.mode = tarfile.DIRTYPE, 0o1777 if shared else 0o755
                sink.write(header(info))
            case Link(target):
                info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, target
                sink.write(header(info))
            case File(source, executable):
                info.mode = 0o755 if executable else 0o644
                info.size = len(source) if isinstance(source, bytes) else source.stat().st_size
                sink.write(header(info))
                if isinstance(source, bytes):
                    sink.write(source)
                elif info.size:
                    sink.write_file(source, info.size)
                sink.write(padding(info.size))
    sink.write(END)


def content_size(tree: Tree) -> int:
    """How many bytes the files of a layer have together; its tar is a little longer. Raises OSError."""
    files = (entry.source for entry in tree.values() if isinstance(entry, File))
    return sum(len(source) if isinstance(source, bytes) else source.stat().st_size for source in files)


def header(info: tarfile.TarInfo) -> bytes:
    """What a tar has before the content of a file."""
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What it has behind that content."""
    return bytes(-size % tarfile.BLOCKSIZE)


def _with_parents(tree: Tree) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for path, entry in tree.items():
        if entries.setdefault(_checked(path), entry) is not entry:
            raise _refused(path, "is there twice")
        if isinstance(entry, Link):
            _check_text(entry.target)
    for path in list(entries):
        parent = path
        while parent := parent.rpartition("/")[0]:
            if not isinstance(entries.setdefault(parent, Folder()), Folder):
                raise _refused(path, f"lies in {parent}, which is no folder")
    return entries


def _checked(path: str) -> str:
    """The path as a tar has it, without a slash at the beginning or the end."""
    parts = path.removeprefix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _refused(path, "is not a plain path")
    if any(part.startswith(WHITEOUT) for part in parts):
        raise _refused(path, f"begins a name with {WHITEOUT}, which in a layer means that a file is removed")
    _check_text(path)
    return "/".join(parts)


def _check_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _refused(path, "is not UTF-8") from None
    if "\0" in path:
        raise _refused(path, "holds a zero byte")


def folder_tree(
    folder: Path, at: str, *, only: Callable[[PurePosixPath], bool] | None = None, lasting: bool = False
) -> dict[str, Entry]:
    """What lies in `folder`, as entries below the path `at` of an image.

    only: asked for every file and link with its path within `folder`. Links stay links; one that leads out of the
    folder, and anything that is neither file, folder nor link, is refused: UserError (exit 3). Folders that would be
    empty are left out.
    """
    root = folder.resolve()
    return {
        f"{at}/{inside}": _entry(found, root, lasting=lasting)
        for inside, found in _files(root, "")
        if only is None or only(PurePosixPath(inside))
    }


def _files(folder: Path | str, at: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What lies below a folder and is none, with its path from there."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{at}{entry.name}/")
            else:
                yield f"{at}{entry.name}", entry


def _entry(found: os.DirEntry[str], root: Path, *, lasting: bool) -> Entry:
    path = Path(found.path)
    if found.is_file(follow_symlinks=False):
        executable = bool(found.stat(follow_symlinks=False).st_mode & stat.S_IXUSR)
        return File(path, executable=executable, lasting=lasting)
    if not found.is_symlink():
        raise _refused(str(path), "is neither a file nor a folder")
    target = path.readlink()
    if target.is_absolute() or not path.resolve().is_relative_to(root):
        raise _refused(str(path), "is a link out of its folder")
    return Link(target.as_posix())


def _refused(path: str, why: str) -> UserError:
    return UserError(
        f"{path!r} cannot be part of an image: it {why}",
        hint="remove or rename it",
        exit_code=ExitCode.FILE,
    )
