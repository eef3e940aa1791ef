"""A delay waits as long as the file says, also over a restart."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.errors import ServiceError
from services.router.execution.delays import moment, wait
from services.router.execution.pieces import Pieces
from services.router.execution.tally import Tally
from services.router.graph import DelayWork
from services.router.journal import JobKey
from tests.services.router.engines import MemoryJournal

pytestmark = pytest.mark.unit

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2030, 6, 1, 12, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T08:30:00", datetime(2030, 1, 31, 8, 30, tzinfo=BERLIN)),
        ("2030-01-31T08:30:00Z", datetime(2030, 1, 31, 8, 30, tzinfo=UTC)),
        ("2030-01-31", datetime(2030, 1, 31, tzinfo=BERLIN)),
        ("12:30", datetime(2030, 6, 1, 12, 30, tzinfo=BERLIN)),
        ("12:00", datetime(2030, 6, 2, 12, tzinfo=BERLIN)),
        (" 08:15:30 ", datetime(2030, 6, 2, 8, 15, 30, tzinfo=BERLIN)),
    ],
)
def test_a_time_is_a_moment_or_the_next_time_of_day(text: str, expected: datetime) -> None:
    assert moment(text, BERLIN, NOON) == expected


def test_a_time_of_day_keeps_to_the_wall_clock_when_it_is_changed() -> None:
    evening = datetime(2030, 3, 30, 20, tzinfo=BERLIN)
    assert moment("08:00", BERLIN, evening).timestamp() - evening.timestamp() == 11 * 3600


def test_without_a_zone_the_machine_decides() -> None:
    now = datetime(2030, 6, 1, 12)  # a time without a zone is the case
    assert moment("2030-06-01T13:00", None, now) == datetime(2030, 6, 1, 13)  # as above


def pieces(journal: MemoryJournal | None = None) -> Pieces:
    return Pieces(journal, "j", 1, Tally(), keep=False)


async def waited_s(work: DelayWork, journal: MemoryJournal | None = None) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        await wait(work, {}, pieces(journal))
    return time.monotonic() - began


@pytest.mark.parametrize("work", [DelayWork("50ms", None, None), DelayWork(0.05, None, None)])
async def test_an_interval_passes(work: DelayWork) -> None:
    assert 0.05 <= await waited_s(work) < 5


async def test_a_moment_comes() -> None:
    soon = datetime.fromtimestamp(time.time() + 0.05, UTC)
    assert await waited_s(DelayWork(None, soon.isoformat(), None)) < 5
    assert time.time() >= soon.timestamp()


async def test_a_moment_that_has_passed_is_no_wait() -> None:
    assert await waited_s(DelayWork(None, "2020-01-01T00:00", "UTC")) < 1


async def test_a_wait_goes_on_where_it_was() -> None:
    journal = MemoryJournal()
    waiting = asyncio.create_task(wait(DelayWork("1h", None, None), {}, pieces(journal)))
    await asyncio.sleep(0)
    waiting.cancel()
    ((key, record),) = journal.noted
    assert key == JobKey("j", 0, 1)
    assert record["output"] - time.time() == pytest.approx(3600, abs=5)
    almost = {**record, "output": time.time() + 0.05}
    assert await waited_s(DelayWork("1h", None, None), MemoryJournal([(key, almost)])) < 5


@pytest.mark.parametrize(
    ("work", "field", "message"),
    [
        (
            DelayWork("soon", None, None),
            "duration",
            '"duration" must be a duration such as 500ms, 30s or 5m, not `soon`.',
        ),
        (DelayWork("9" * 400, None, None), "duration", '"duration" is more than a year away.'),
        (
            DelayWork(None, "noon", None),
            "time",
            '"time" must be a time such as 2030-01-31T08:30:00 or 08:30, not `noon`.',
        ),
        (DelayWork(None, "9999-01-01", None), "time", '"time" is more than a year away.'),
        (
            DelayWork(None, "08:30", "../etc/passwd"),
            "timezone",
            '"timezone" must be a zone such as Europe/Berlin or UTC, not `../etc/passwd`.',
        ),
    ],
)
async def test_what_cannot_be_waited_for_is_named(work: DelayWork, field: str, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await wait(work, {}, pieces())
    assert (caught.value.status, caught.value.field, caught.value.message) == (422, field, message)


@pytest.mark.parametrize("value", [None, [], "", {"a": 1}, True, "99:99", "2030-13-01", "0001-01-01", 5])
async def test_no_value_breaks_a_time(value: Any) -> None:
    with pytest.raises(ServiceError, match="must be a time"):
        await wait(DelayWork(None, value if value is not None else [], None), {}, pieces())
