"""Whether a delay can be waited for: a duration, or a time in a known time zone."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from compose.blocks import Location
from compose.checks.expressions import Place, check
from compose.checks.findings import Findings
from compose.spec import DelayJobSpec
from compose.templates import constant, is_constant
from compose.written import Template
from services.quantities import duration_s
from services.router.names import closest
from services.router.settings import LONGEST_WAIT_S


def check_delay(job: DelayJobSpec, here: Location, place: Place, findings: Findings) -> None:
    """What the mode needs is there and can be read, and nothing else."""
    needed, foreign = ("duration", ["time", "timezone"]) if job.mode == "time-interval" else ("time", ["duration"])
    given = job.model_fields_set
    if needed not in given and not given & set(foreign) and findings.is_whole(here):
        findings.error(here, f"the delay has no `{needed}`", _EXAMPLES[needed])
    for name in foreign:
        if name in given:
            other = "specific-time" if job.mode == "time-interval" else "time-interval"
            message = f"`{name}` means nothing with `mode: {job.mode}`"
            findings.error((*here, name), message, f"write `mode: {other}`", key=True)
    for name, read in (("duration", _read_duration), ("time", _read_time), ("timezone", _read_timezone)):
        if name in given and name not in foreign:
            _check_known(name, getattr(job, name), read, (*here, name), place, findings)


_EXAMPLES = {
    "duration": "write `duration: 5s`",
    "time": "write a time of day such as 08:30, or a date and time such as 2030-01-31T08:30",
}


def _check_known(
    name: str, template: Template, read: Callable[[Any], None], here: Location, place: Place, findings: Findings
) -> None:
    tree = check(template, here, place, findings)
    if tree is None:
        if template is None:
            findings.error(here, f"`{name}` has no value", _EXAMPLES.get(name), key=True)
        return
    if not is_constant(template):
        return
    try:
        read(constant(template))
    except LookupError:
        return
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        findings.error(here, f"`{name}` {message}", hint or None)


def _read_duration(value: Any) -> None:
    if duration_s(value) > LONGEST_WAIT_S:
        raise ValueError("is longer than a year")


def _read_time(value: Any) -> None:
    for read in (time.fromisoformat, datetime.fromisoformat):
        with suppress(TypeError, ValueError):
            read(value)
            return
    raise ValueError(f"must be a time, not `{value}`; {_EXAMPLES['time']}")


def _read_timezone(value: Any) -> None:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = closest(str(value), available_timezones())
        hint = f"did you mean `{meant}`?" if meant else "write a name such as UTC or Europe/Berlin"
        raise ValueError(f"must name a time zone, not `{value}`; {hint}") from None
