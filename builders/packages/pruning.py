"""Removes from installed packages what no image needs, and what would tell where and when they were installed."""

import csv
import io
import os
from contextlib import suppress
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
    for at, _, names in os.walk(folder, topdown=False):
        place = Path(at)
        inside = PurePosixPath(place.relative_to(folder).as_posix())
        for name in names:
            if not is_kept(inside / name):
                (place / name).unlink()
        if place != folder:
            with suppress(OSError):  # it still holds something
                place.rmdir()
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


def _rewrite(record: Path, folder: Path) -> None:
    """A RECORD of the files that are left, sorted. It replaces the file, which may be a link into a shared cache."""
    with record.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and (folder / row[0]).is_file()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    record.unlink()
    record.write_text(text.getvalue(), encoding="utf-8")
