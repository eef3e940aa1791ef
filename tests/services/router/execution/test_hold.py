"""Calls wait for a service that is not there: so long, so many, and with one question for all of them."""

import asyncio
from dataclasses import replace

import pytest

from services.errors import ServiceError
from services.router.clients.client import NotReady
from services.router.compiling import compile_graph
from services.router.execution.hold import CHANGE_S, WAKE_S, Hold, Leaving, hold_of
from services.router.settings import RouterSettings
from services.wire import Readiness, Stage
from tests.services.router.rig import text, workflow

pytestmark = pytest.mark.unit

COMPONENT = compile_graph(RouterSettings(components=(text(),), workflows=(workflow("text"),))).components["text"]


class Task:
    """Says how far it is, and counts how often it is asked."""

    def __init__(self) -> None:
        self.stage: Stage = "absent"
        self.asked = 0

    async def ask(self) -> Readiness:
        self.asked += 1
        return Readiness(self.stage)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.execution.hold._LOOK_EVERY_S", 0.005)


def missed(**changes: bool) -> NotReady:
    return NotReady("Not there.", hint="Again.", retry_after_s=2, **{"lasting": False, "absent": True, **changes})


def hold(task: Task, **changes: float) -> Hold:
    return Hold(task.ask, **{"patience_s": 5, "most": 64, "sleeps": True, **changes})  # type: ignore[arg-type]  # by name


async def test_all_who_wait_go_on_together_and_one_question_was_asked_at_a_time() -> None:
    task = Task()
    held = hold(task)
    waiting = [asyncio.create_task(held.wait(missed(), f"client {n}", f"run {n}", held.begin())) for n in range(50)]
    async with asyncio.timeout(5):
        while task.asked < 3:  # noqa: ASYNC110  # nothing tells when it has changed
            await asyncio.sleep(0)
        assert held.waiting == 50
        task.stage = "ready"
        await asyncio.gather(*waiting)
    assert held.waiting == 0
    assert task.asked < 50


async def test_a_service_that_has_failed_is_asked_anew_and_says_so_itself() -> None:
    task = Task()
    task.stage = "failed"
    await hold(task).wait(missed(), "", "run", hold(task).begin())


@pytest.mark.parametrize(
    ("sleeps", "error", "waits"),
    [
        (True, missed(), True),
        (True, missed(absent=False), True),
        (False, missed(), True),
        (False, missed(absent=False), False),
        (True, missed(lasting=True), False),
    ],
)
async def test_what_is_worth_waiting_for(sleeps: bool, error: NotReady, waits: bool) -> None:
    task = Task()
    held = hold(task, sleeps=sleeps, patience_s=0.05)
    with pytest.raises(NotReady) as refused:
        await held.wait(error, "", "run", held.begin())
    assert refused.value is error
    assert (task.asked > 0) == waits


async def test_who_has_a_reason_of_its_own_is_told_that() -> None:
    crash = ServiceError(502, "task_crashed", "It ended.")
    held = hold(Task(), patience_s=0)
    with pytest.raises(ServiceError) as refused:
        await held.wait(missed(), "", "run", held.begin(), crash)
    assert refused.value is crash


async def test_only_so_many_wait_and_each_client_finds_a_place() -> None:
    held = hold(Task(), most=8)
    flood = [asyncio.create_task(held.wait(missed(), "a", f"run {n}", held.begin())) for n in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await held.wait(missed(), "a", "run 8", held.begin())
    other = asyncio.create_task(held.wait(missed(), "b", "run 9", held.begin()))
    await asyncio.sleep(0)
    further = asyncio.create_task(held.wait(missed(), "a", "run 0", held.begin()))
    await asyncio.sleep(0)
    assert held.waiting == 10
    for waiting in (*flood, other, further):
        waiting.cancel()
    await asyncio.gather(*flood, other, further, return_exceptions=True)
    assert held.waiting == 0


async def test_nobody_waits_in_a_router_that_is_about_to_end() -> None:
    task = Task()
    held = hold(task)
    waiting = asyncio.create_task(held.wait(missed(), "", "run", held.begin()))
    await asyncio.sleep(0)
    held.leave()
    async with asyncio.timeout(1):
        with pytest.raises(Leaving):
            await waiting
        with pytest.raises(Leaving):
            await held.wait(missed(), "", "late", held.begin())
    assert (held.waiting, task.asked) == (0, 0)


async def test_a_question_that_fails_inside_the_router_is_asked_again() -> None:
    task = Task()
    task.stage = "ready"

    async def ask() -> Readiness:
        if not task.asked:
            task.asked += 1
            raise TypeError("a mistake")
        return await task.ask()

    held = Hold(ask, patience_s=5, most=1)
    await held.wait(missed(), "", "run", held.begin())
    assert task.asked == 2


async def test_nobody_is_asked_when_nobody_waits() -> None:
    task = Task()
    held = hold(task)
    waiting = asyncio.create_task(held.wait(missed(), "", "run", held.begin()))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert held._watch is not None
    await asyncio.wait([held._watch], timeout=5)
    assert held._watch.done()


def test_how_long_depends_on_where_a_service_is() -> None:
    task, behind_a_name = Task(), replace(COMPONENT, endpoint="http://task-text:3000")
    assert hold_of(COMPONENT, task.ask, None) is None
    for component, run_timeout_s, patience_s in (
        (behind_a_name, None, CHANGE_S),
        (behind_a_name, 300, CHANGE_S),
        (behind_a_name, 1, 1),
        (replace(behind_a_name, may_sleep=True), None, WAKE_S),
        (replace(behind_a_name, may_sleep=True), 300, 300),
    ):
        found = hold_of(component, task.ask, run_timeout_s)
        assert found is not None
        assert found._patience_s == patience_s
