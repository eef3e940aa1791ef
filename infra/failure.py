"""Why a service does not work, judged by how its process ended."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from infra.errors import ExitCode
from infra.unit import Unit

Killer = Literal["system", "remover", "anybody"]
"""Who ended a unit by SIGKILL: the system because of memory, whoever removed its container, or it is not known."""

HOPELESS: Final = {
    os.EX_CONFIG: ExitCode.FILE,  # the model, or what the file says about it
    os.EX_UNAVAILABLE: ExitCode.ENVIRONMENT,  # no such device, or a database of another version
    os.EX_TEMPFAIL: ExitCode.ENVIRONMENT,  # not enough memory
}
"""Exit statuses of a service whose last line says why it cannot work here, so that starting it again is in vain."""

_LIMIT_HINT: Final = "raise it, or use a smaller model, `precision: bfloat16` or `quantization: int8`"
_MEMORY_HINT: Final = "give it more memory, or use a smaller model, `precision: bfloat16` or `quantization: int8`"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a service does not work, and what the command that started it ends in."""

    message: str
    hint: str | None = None
    exit_code: ExitCode = ExitCode.FAILED


def too_slow(unit: Unit) -> Failure:
    """It did not become ready in its time."""
    seconds = f"{unit.start_timeout_s:g} s"
    return Failure(f"{unit.name} was not ready within {seconds}", "allow more time with `start_timeout` in the file")


def ended(unit: Unit, status: int, lines: Sequence[str], killer: Killer) -> Failure:
    """It ended with this exit status (negative: by that signal) after these last lines of output."""
    if status in HOPELESS and lines:
        return Failure(_said(lines[-1]), exit_code=HOPELESS[status])
    if status == -signal.SIGKILL and killer == "remover":
        return Failure(f"{unit.name} was killed: somebody removed its container")
    if status == -signal.SIGKILL and killer == "system" and unit.memory_limited:
        reason = "because memory ran out: it may use no more than its `resources.memory`"
        return Failure(f"{unit.name} was killed by the system, most likely {reason}", _LIMIT_HINT)
    if status == -signal.SIGKILL and killer == "system":
        return Failure(f"{unit.name} was killed by the system, most likely because memory ran out", _MEMORY_HINT)
    return Failure(f"{unit.name} {ending(status)}")


def ending(status: int) -> str:
    """`ended with exit status 3`, `was ended by SIGTERM`."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _said(line: str) -> str:
    """What a line of a log says; of one that is written as JSON its message."""
    try:
        message = json.loads(line)["message"]
    except (ValueError, TypeError, KeyError):
        return line
    return str(message)
