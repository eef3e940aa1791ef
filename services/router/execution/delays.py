"""How long a delay job waits, also over a restart of the router."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.errors import ServiceError
from services.quantities import duration_s
from services.router.execution.fields import LONGEST_MESSAGE, render_input
from services.router.execution.pieces import Pieces
from services.router.execution.tally import Tally
from services.router.expression import MISSING, Tree
from services.router.graph import DelayWork
from services.router.settings import LONGEST_WAIT_S

_A_TIME = "a time such as 2030-01-31T08:30:00 or 08:30"
_LOOK_AGAIN_S = 60.0
"""How often a wait for a time of the clock looks at it, because it may be set meanwhile."""


async def wait(work: DelayWork, scope: Mapping[str, Any], pieces: Pieces) -> Any:
    """Wait; MISSING, for a delay has no result. Raises ServiceError 422 for what is no duration, time or zone.

    A run that goes on after a restart ends its wait when it would have ended without.
    """
    now = time.time()

    async def end(_: Tally) -> float:
        return _end(work, scope, now)

    end_s = await pieces.make(0, end)
    if work.duration is not None:
        await asyncio.sleep(end_s - now)
    else:
        await _sleep_until(end_s)
    return MISSING


async def _sleep_until(end_s: float) -> None:
    while (left_s := end_s - time.time()) > 0:  # noqa: ASYNC110  # the clock tells nobody that it has been set
        await asyncio.sleep(min(left_s, _LOOK_AGAIN_S))


def _end(work: DelayWork, scope: Mapping[str, Any], now: float) -> float:
    """When the wait ends, in seconds since 1970."""
    if work.duration is not None:
        return now + _duration(work.duration, scope)
    assert work.time is not None
    zone = _zone(None if work.timezone is None else render_input(work.timezone, scope, "timezone"))
    value = render_input(work.time, scope, "time")
    try:
        end_s = moment(value, zone, datetime.fromtimestamp(now, zone)).timestamp()
    except (ValueError, OverflowError):  # at the edges of the calendar, where zones lead beyond it
        raise _unfit("time", _A_TIME, value) from None
    if end_s - now > LONGEST_WAIT_S:
        raise _too_long("time")
    return end_s


def moment(value: Any, zone: tzinfo | None, now: datetime) -> datetime:
    """What `value` names: a date and time, or the next time of day. zone: of a time that names none, and of `now`.

    Raises ServiceError 422.
    """
    text = str(value).strip() if isinstance(value, str) else ""
    try:
        daily = time_of_day.fromisoformat(text)
    except ValueError:
        pass
    else:
        today = datetime.combine(now.date(), daily, daily.tzinfo or now.tzinfo)
        return today if today > now else datetime.combine(today.date() + timedelta(days=1), daily, today.tzinfo)
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise _unfit("time", _A_TIME, value) from None
    return end if end.tzinfo is not None else end.replace(tzinfo=zone)


def _duration(tree: Tree, scope: Mapping[str, Any]) -> float:
    value = render_input(tree, scope, "duration")
    try:
        seconds = duration_s(value)
    except ValueError:
        raise _unfit("duration", "a duration such as 500ms, 30s or 5m", value) from None
    if seconds > LONGEST_WAIT_S:
        raise _too_long("duration")
    return seconds


def _zone(value: Any) -> tzinfo | None:
    """The zone of this name; None, the machine's own, when none is given."""
    if value is None:
        return None
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _unfit("timezone", "a zone such as Europe/Berlin or UTC", value) from None


def _unfit(field: str, wanted: str, value: Any) -> ServiceError:
    shown = "nothing" if value is None else f"`{str(value)[:LONGEST_MESSAGE]}`"
    return ServiceError(422, "invalid_parameter", f'"{field}" must be {wanted}, not {shown}.', field=field)


def _too_long(field: str) -> ServiceError:
    return ServiceError(422, "invalid_parameter", f'"{field}" is more than a year away.', field=field)
