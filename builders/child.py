"""Runs the programs that a build needs: in a folder of the build, not for ever, and never longer than the build."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.errors import ExitCode, UserError
from infra.process import end_with


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
    try:
        return subprocess.run(  # noqa: S603 - programs and arguments that we choose
            command,
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**environment, "TMPDIR": str(folder)},
            cwd=folder,
            check=False,
            timeout=most_s,
            preexec_fn=end_with(os.getpid()) if sys.platform == "linux" else None,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{what} took more than {most_s:g} s and was ended",
            hint="build again when this machine, its disk and its network are less busy",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
