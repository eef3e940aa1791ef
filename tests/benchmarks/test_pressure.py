"""What the benchmarks of pressure show stays within ten times the promised bounds; soak runs the full sizes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks import bodies, leaving, overload
from benchmarks.raw import percentile
from tests.services.router.rig import Stack, chat, stack, text, workflow

pytestmark = pytest.mark.server

SLACK = 10
"""Tests share their machine; the figures themselves come from `make bench`."""
MB = 1_000_000


@pytest.fixture
def running() -> Iterator[Stack]:
    with (
        TemporaryDirectory(prefix="mc-") as folder,
        stack(Path(folder), [text(), chat()], [workflow("text", default=True)]) as running,
    ):
        yield running


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.soak)])
async def test_ten_times_overload_is_refused_at_once_and_keeps_nobody_out(seconds: float) -> None:
    with TemporaryDirectory(prefix="mc-") as folder, overload.serving(Path(folder)) as running:
        figures = await overload.overload(running, times=10, seconds=seconds)
        assert running.tasks["text"].counters()["computing"] == 0
    assert set(figures.statuses) == {200, 429}
    assert len(figures.rejected_s) > len(figures.accepted_s)
    assert percentile(figures.rejected_s, 0.5) < SLACK * 0.02
    queue_s = (overload.QUEUE + overload.AT_ONCE) / overload.AT_ONCE * overload.SERVICE_S
    assert percentile(figures.accepted_s, 0.99) < SLACK * queue_s
    assert figures.growth_bytes < 64 * MB
    assert {answer.status for answer in figures.polite} == {200}
    polite_s = [answer.took_s for answer in figures.polite]
    assert percentile(polite_s, 0.5) < percentile(figures.accepted_s, 0.5) / 2


@pytest.mark.parametrize("clients", [99, pytest.param(1000, marks=pytest.mark.soak)])
def test_clients_that_leave_end_their_runs_and_leave_nothing(running: Stack, clients: int) -> None:
    figures = leaving.leave(running, clients)
    for stopped_s in figures.stopped_s.values():
        assert percentile(stopped_s, 0.99) < SLACK * 0.25
    assert len(figures.stopped_s["stream, after its first byte"]) == clients // 3
    assert (figures.computing, figures.places) == (0, 0)
    assert figures.descriptors < clients / 10


async def test_bad_bodies_are_refused_soon_and_others_do_not_notice(running: Stack) -> None:
    for figures in await bodies.send_all(running, bodies.DOORS[:2]):
        assert 400 <= figures.status < 500, figures
        assert figures.refused_s < SLACK * 0.1, figures
        assert figures.health_s < SLACK * 0.05, figures
        assert figures.growth_bytes < SLACK * 20 * MB, figures
