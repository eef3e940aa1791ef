"""Removes from installed packages what no image needs, and what would tell where and when they were installed."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_TESTS = frozenset({"tests", "test"})
_HEADERS = frozenset({".h", ".hh", ".hpp", ".hxx", ".cuh", ".pxd", ".pyx", ".a", ".cmake"})
_TORCH_PARTS = frozenset({"test", "include", "share"})
_TORCH_PROGRAM = PurePosixPath("torch/bin/torch_shm_manager")
"""The one of its programs that torch itself starts; the others are its tests."""
_NOTES = frozenset({"direct_url.json", "REQUESTED", "uv_build.json", "uv_cache.json"})
"""Beside a package's metadata: where it came from, when, and whether somebody asked for it."""
_OWN_FOLDERS = frozenset({"bin", "include", "share", "etc"})
"""Beside the packages: scripts that name this machine's Python, headers and manuals."""


def prune(folder: Path) -> None:
    """Remove what is not needed from a folder of installed packages, and make their RECORDs agree with what is left."""
    for path in list(_files(folder)):
        if not is_kept(PurePosixPath(path.relative_to(folder).as_posix())):
            path.unlink()
    _remove_empty(folder)
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        _rewrite(record, folder)


def is_kept(path: PurePosixPath) -> bool:
    """Whether a file belongs in an image; `path` within the folder of packages."""
    folders, name = path.parts[:-1], path.name
    if not folders:
        return not name.startswith(".")
    if folders[0] in _OWN_FOLDERS or "__pycache__" in folders:
        return False
    if folders[0].endswith(".dist-info"):
        return name not in _NOTES
    if folders[0] == "torch" and len(folders) > 1:
        if folders[1] == "bin":
            return path == _TORCH_PROGRAM
        if folders[1] in _TORCH_PARTS:
            return False
    return not _TESTS.intersection(folders[1:]) and path.suffix not in _HEADERS


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _remove_empty(folder: Path) -> None:
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def _rewrite(record: Path, folder: Path) -> None:
    """A RECORD of the files that are left, sorted. It replaces the file, which may be a link into a shared cache."""
    with record.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and (folder / row[0]).is_file()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    record.unlink()
    record.write_text(text.getvalue(), encoding="utf-8")
