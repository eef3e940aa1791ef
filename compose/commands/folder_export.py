"""A folder of generated files: what was generated before is replaced, and what is somebody else's stays."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from infra.errors import ExitCode, UserError
from infra.files import not_writable

LIST: Final = ".model-compose-files"
"""In the folder: the paths of the files that were generated, a line each."""


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Have these files there, by their paths, and those of the last time no more.

    Every file appears whole or not at all, and the list of them before the first, so that a write that was interrupted
    can be repeated. Raises UserError: exit 2 for a folder with files of other people and no list, with one of those in
    the way, or with a link in place of a folder; 4 where it cannot be written.
    """
    try:
        before = _generated(folder)
        _refuse_links(folder, before | files.keys())
        taken = sorted(path for path in files if path not in before and (folder / path).exists())
        if taken:
            raise UserError(
                f"{folder / taken[0]} is there already, and no export wrote it",
                hint="move it away, or choose another folder",
                exit_code=ExitCode.USAGE,
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / LIST, "".join(f"{path}\n" for path in sorted(before | files.keys())))
        for path, text in files.items():
            _write(folder / path, text)
        for path in sorted(before - files.keys()):
            _remove(folder, path)
        _write(folder / LIST, "".join(f"{path}\n" for path in sorted(files)))
    except OSError as error:
        raise not_writable(folder, error) from None


def _generated(folder: Path) -> set[str]:
    """What the list names. Raises UserError for a folder that holds something, but no list, and for a file."""
    try:
        lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{folder} holds files that no export wrote",
                hint="choose a folder that is empty or not there yet",
                exit_code=ExitCode.USAGE,
            ) from None
        return set()
    except NotADirectoryError:
        raise UserError(
            f"{folder} is not a folder, or lies in a file",
            hint="choose a folder that is empty or not there yet",
            exit_code=ExitCode.USAGE,
        ) from None
    return {line for line in lines if _is_inside(line)}


def _refuse_links(folder: Path, paths: Iterable[str]) -> None:
    """Raises UserError where a folder of the export's is a link: what it leads to is not the export's to change."""
    parents = {parent for path in paths for parent in PurePosixPath(path).parents} - {PurePosixPath()}
    links = sorted(str(folder / parent) for parent in parents if (folder / parent).is_symlink())
    if links:
        raise UserError(
            f"{links[0]} is a link, and an export writes into no other folder than its own",
            hint="put a folder in its place",
            exit_code=ExitCode.USAGE,
        )


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts


def _write(path: Path, text: str) -> None:
    """In one step, and not at all when nothing has changed."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove(folder: Path, path: str) -> None:
    """The file, and the folders that are empty without it."""
    (folder / path).unlink(missing_ok=True)
    for parent in PurePosixPath(path).parents:
        place = folder / parent
        if place == folder or not place.is_dir() or any(place.iterdir()):
            return
        place.rmdir()
