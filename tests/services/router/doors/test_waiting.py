"""How long a stream keeps back its head, so that a run that fails early has a status of its own."""

import asyncio

import pytest
from starlette.types import Message

from services.router.doors import waiting
from services.router.doors.sse import Channel
from services.router.doors.waiting import failed_early
from services.router.messages import Run
from services.router.runs.carrying import LiveRun

pytestmark = pytest.mark.unit


async def nobody_leaves() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("waits", [True, False])
async def test_a_run_that_waits_for_its_service_keeps_its_head_back_but_not_for_ever(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in front of a server gives up after a minute without a byte."""
    monkeypatch.setattr(waiting, "_STATUS_KEPT_S", 0.02)
    monkeypatch.setattr(waiting, "WAKE_S", 0.2)
    run = Run("T", "w", "R", kept=False, waiting=waits)
    live = LiveRun(run, asyncio.create_task(asyncio.Event().wait()))  # type: ignore[arg-type]  # gives nothing
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        assert not await failed_early(nobody_leaves, Channel(), live)
    assert (asyncio.get_running_loop().time() - began_s >= 0.2) == waits
    live.task.cancel()
