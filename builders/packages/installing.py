"""Installs chosen packages into a folder, for another Python and another machine than this one."""

import sys
from collections.abc import Mapping
from pathlib import Path

from builders.packages.resolving import Resolution
from builders.packages.sources import Sources
from builders.packages.uv import run_uv
from builders.packages.wanted import Wanted


def install(resolution: Resolution, wanted: Wanted, folder: Path, sources: Sources, environ: Mapping[str, str]) -> None:
    """Fill `folder`, which lies in a folder to work in, with exactly these wheels, each checked against its hash.

    Files are links into uv's own cache where that lies on the same disk: they may be removed, and never be written to.
    Raises UserError: exit 4.
    """
    run_uv(
        [
            *("install", "--requirements", "requirements.txt", "--require-hashes", "--no-deps"),
            *("--python", sys.executable, "--target", str(folder.absolute())),
        ],
        {"requirements.txt": resolution.requirements},
        wanted,
        sources,
        environ,
        folder.parent,
    )
