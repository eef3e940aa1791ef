"""How long a service waited for a processor, which tells one that hangs from one on a machine that is too busy."""

import contextlib
from pathlib import Path

from infra.state import ProcessId

_PROC = Path("/proc")


def waited_s(process: ProcessId | None) -> float | None:
    """Seconds that the threads of a process and of all that it started were ready to run and did not, added up.

    None where that cannot be told: without a process of this machine, and on other systems than Linux.
    """
    if process is None or not (_PROC / str(process.pid) / "schedstat").exists():
        return None
    waited_ns = 0
    remaining = [str(process.pid)]
    while remaining:
        for thread in _threads(remaining.pop()):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                waited_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
                remaining += (thread / "children").read_text(encoding="ascii").split()
    return waited_ns / 10**9


def _threads(pid: str) -> list[Path]:
    try:
        return list((_PROC / pid / "task").iterdir())
    except OSError:
        return []
