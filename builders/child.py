"""Runs the programs that a build needs: in a folder of the build, not for ever, and never longer than the build."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.errors import ExitCode, UserError
from infra.process import end_with

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What tells a build to end."""


def run_child(
    command: Sequence[str],
    what: str,
    *,
    folder: Path,
    environment: Mapping[str, str],
    most_s: float,
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `command`, whose standard input is `given`, and return how it ended and what it said.

    folder: where it works and keeps what it calls temporary. It is killed when this process ends, however that ends.
    Raises UserError (exit 4) that names `what` when it takes more than `most_s` seconds.
    """
    # A signal that becomes an exception while the process forks is lost: hooks of libraries run then, and theirs are
    # ignored. So it has to wait until there is a child that it can end.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        child = subprocess.Popen(  # noqa: S603 - programs and arguments that we choose
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**environment, "TMPDIR": str(folder)},
            cwd=folder,
            preexec_fn=_begin(before),  # noqa: PLW1509 - it takes no lock
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    with child:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            said, complaint = child.communicate(given, timeout=most_s)
        except subprocess.TimeoutExpired:
            child.kill()
            raise UserError(
                f"{what} took more than {most_s:g} s and was ended",
                hint="build again when this machine, its disk and its network are less busy",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None
        except BaseException:
            child.kill()
            raise
    return subprocess.CompletedProcess(command, child.returncode, said, complaint)


def _begin(mask: set[signal.Signals | int]) -> Callable[[], None]:
    """For a child that has not begun yet: it ends with us, and its signals come through."""
    tie = end_with(os.getpid()) if sys.platform == "linux" else lambda: None

    def begin() -> None:
        tie()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return begin
