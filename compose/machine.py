"""What this machine has: memory, disks and GPUs, found without loading a framework."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.engine.loading.machine import Processor, this_processor

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that CUDA may use."""

    name: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of a folder, which need not exist yet. device: the same for all folders of one disk."""

    device: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """processor: with the memory that can be had, within a container's limit."""

    processor: Processor
    gpus: tuple[Gpu, ...] = ()

    def disk(self, folder: Path) -> Disk:
        """The disk that a folder is on, or will be."""
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        return Disk(existing.stat().st_dev, shutil.disk_usage(existing).free)


def this_machine() -> Machine:
    return Machine(this_processor(), _gpus())


def has_gpu() -> bool:
    """Whether there may be one; cheaper than to ask for its memory."""
    return shutil.which("nvidia-smi") is not None and _torch_has_cuda()


def _gpus() -> tuple[Gpu, ...]:
    """By NVIDIA's own tool; none where it fails, or where torch was installed for processors only."""
    if not has_gpu():
        return ()
    command = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(  # noqa: S603 - no word of it comes from outside
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        ).stdout
        return tuple(map(parse_gpu, listing.strip().splitlines()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def parse_gpu(line: str) -> Gpu:
    """`NVIDIA H200, 143771`, the memory in MiB; raises ValueError for anything else."""
    name, _, free = line.rpartition(",")
    return Gpu(name.strip(), int(free) * 2**20)


def _torch_has_cuda() -> bool:
    try:
        return not version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
