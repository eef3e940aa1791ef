"""What every measurement stands on: a folder to work in, packages, base images, and commands that are timed."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
KEPT = REPOSITORY / "build" / "benchmarks"
"""Not hidden: BentoML refuses to read a file of a hidden folder."""
_REQUIREMENTS = REPOSITORY / "infra" / "requirements"
_SHOWN = 2000
"""How many characters of a failed command's output are shown."""


@dataclass(frozen=True)
class Ran:
    """A command that went well."""

    seconds: float
    out: str
    err: str


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, umask: int = -1) -> Ran:
    """Time a command. Ends the program where it fails."""
    started = time.perf_counter()
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    seconds = time.perf_counter() - started
    if ended.returncode != 0:
        shown = (ended.stdout + ended.stderr)[-_SHOWN:]
        raise SystemExit(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{shown}")
    return Ran(seconds, ended.stdout, ended.stderr)


def works(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Place:
    """Where a run of the script works.

    scratch: its own folder. kept: what is kept from run to run. megabytes: of the large model's weights.
    lock: a model-compose.lock to begin with. cache: one that has images already; both only for a smoke test.
    """

    scratch: Path
    megabytes: int = 1000
    kept: Path = KEPT
    lock: Path | None = None
    cache: Path | None = None

    @property
    def rounds(self) -> int:
        """How often what is quick is measured, for a median."""
        return 1 if self.cache else 3

    @property
    def base(self) -> Path:
        """Our small base image, as a root archive."""
        return self.kept / "base.tar"

    @property
    def uv(self) -> Path:
        """uv's cache: on the disk of the images, so that it can link from there."""
        return self.kept / "uv"

    @property
    def wheels(self) -> Path | None:
        """All that images and their tools need; one folder for each version of the requirements."""
        if self.cache is not None:
            return None
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_REQUIREMENTS.glob("*.txt"))))
        return self.kept / f"wheels-{digest.hexdigest()[:12]}"


def make_base(place: Place) -> None:
    """From Debian's packages, unless it is there."""
    place.kept.mkdir(parents=True, exist_ok=True)
    if not place.base.exists():
        run(sys.executable, "-m", "infra.base", place.base, cwd=REPOSITORY)


def copy_model(folder: Path) -> Path:
    """That of the quickstart example, whose weights are 5.4 MB."""
    return shutil.copytree(REPOSITORY / "examples" / "quickstart" / "model", folder)


def make_large_model(folder: Path, megabytes: int) -> Path:
    """The same with other weights: so many megabytes that no compressor makes smaller, in one safetensors file."""
    copy_model(folder)
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % ((megabytes * 10**6,) * 2)
    header += b" " * (-len(header) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(megabytes):
            file.write(os.urandom(10**6))
    return folder


def link_model(model: Path, folder: Path) -> None:
    """The same files in another folder, without copying them."""
    shutil.copytree(model, folder, copy_function=os.link)


def folder_bytes(folder: Path) -> int:
    """What the files take on the disk, those with several names once."""
    found = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(Path.lstat, folder.rglob("*"))}
    return sum(found.values())
