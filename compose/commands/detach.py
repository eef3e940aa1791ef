"""`up --detach`: the same command once more, in the background, talking on our terminal until the start is decided."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from infra.errors import ExitCode

READY_FD = "MODEL_COMPOSE_READY_FD"
"""Environment variable: where the background half writes the exit code of its start."""


def start_in_background(arguments: Sequence[str]) -> ExitCode:
    """Run `model-compose ARGUMENTS` in a session of its own; returns once it is ready or has ended."""
    reading_end, writing_end = os.pipe()
    background = subprocess.Popen(  # noqa: S603 - our own command with the user's own arguments
        [sys.executable, "-P", "-m", "compose", *arguments],
        stdin=subprocess.DEVNULL,
        env={**os.environ, READY_FD: str(writing_end)},
        pass_fds=(writing_end,),
        start_new_session=True,
    )
    os.close(writing_end)
    try:
        with os.fdopen(reading_end, "rb") as pipe:
            verdict = pipe.read()
        status = int(verdict) if verdict else background.wait()
    except KeyboardInterrupt:
        background.terminate()
        background.wait()
        return ExitCode.INTERRUPTED
    return ExitCode(status) if status in tuple(ExitCode) else ExitCode.FAILED


def background_half() -> Callable[[ExitCode], None] | None:
    """In the background half: what to call with the exit code of the start, to let go of the terminal; else None."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        return None
    ready = int(descriptor)

    def leave_terminal(code: ExitCode) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)
        os.write(ready, str(int(code)).encode())
        os.close(ready)

    return leave_terminal
