"""What this machine has: memory that is free or ours, and whether its processor computes bfloat16 itself."""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Processor:
    """What the choice of a precision depends on. available_bytes: memory that can be had, None when unknown."""

    fast_bfloat16: bool
    available_bytes: int | None


def this_processor() -> Processor:
    return Processor(has_fast_bfloat16(), available_memory_bytes())


def has_fast_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """False where that cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    return any(_FAST_BFLOAT16 & set(value.split()) for name, _, value in lines if name.strip() in ("flags", "Features"))


def processors(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How many processors the container may use at once, at least one; None where it has no limit of its own.

    More threads than that make each other wait, and torch counts the machine's processors.
    """
    try:
        quota, period = map(int, (cgroup / "cpu.max").read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # no cgroup, or "max": no limit
        return None
    return max(1, round(quota / period))


def resident_bytes() -> int:
    """The most memory this process held so far; mapped weights count once they were read."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def mapped_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Of this process, in memory, and backed by files, such as mapped weights; 0 where that cannot be told."""
    try:
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["RssFile"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0


def available_memory_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that can be had, within the container's limit; None where that cannot be told."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
        machine = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="utf-8"))
        current = int((cgroup / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no cgroup, or "max": no limit
        return machine
    return min(machine, max(0, limit - current))
