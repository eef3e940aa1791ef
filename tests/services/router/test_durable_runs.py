"""What a router does with the runs of its store when that fails, leases are lost, or it drains; no processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.clients.client import NotReady, OnDelta
from services.router.core import Core
from services.router.messages import Run, RunRequest, RunStatus
from services.router.runs import attempts, durable
from services.router.settings import RouterSettings
from services.router.store.database import Row, Statement, StoreUnavailable
from services.router.store.run_store import LEASE_S, RunStore
from services.router.store.sqlite import open_sqlite
from services.wire import Done, TaskRequest
from tests.services.router.engines import FakeTask, echo, hang
from tests.services.router.rig import job, text, workflow

pytestmark = pytest.mark.unit

CHAIN = workflow("chain", job("a", "text"), job("b", "text", depends_on=[["a"]]))


class Flaky:
    """A database in memory that can be made to fail, and that looks durable."""

    durable = True
    skip_locked = ""

    def __init__(self) -> None:
        self._inner = open_sqlite(None)
        self.broken = False
        self.refused = 0

    def execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if self.broken:
            self.refused += 1
            raise StoreUnavailable("SQLITE_FULL")
        return self._inner.execute(statements)

    def reader(self) -> "Flaky":
        return self

    def shrink(self) -> None: ...

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Flaky:
    opened = Flaky()
    monkeypatch.setattr("services.router.core.open_store", lambda _: RunStore(opened))
    monkeypatch.setattr(attempts, "_RETRY_S", 0.01)
    return opened


@asynccontextmanager
async def opened(task: FakeTask, **changes: Any) -> AsyncIterator[Core]:
    given = {"components": [text()], "workflows": [workflow("text", default=True), CHAIN], **changes}
    core = Core(RouterSettings.model_validate(given))
    core.clients["text"] = task
    async with core.runs.open():
        yield core


async def submit(core: Core, prompt: str = "x", workflow_id: str = "text", **more: Any) -> str:
    request = RunRequest(workflow_id, {"prompt": prompt}, wait_for_completion=False, **more)
    return (await core.runs.submit(request, "request")).task_id


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # conditions of several kinds
            await asyncio.sleep(0.005)


async def end_of(core: Core, task_id: str) -> Run:
    async with asyncio.timeout(5):
        while not (run := await core.runs.find(task_id)) or not run.status.finished:  # noqa: ASYNC110  # as a client
            await asyncio.sleep(0.005)
    return run


async def test_without_its_store_a_router_refuses_what_it_cannot_keep_and_goes_on_with_the_rest(
    database: Flaky, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(FakeTask()) as core:
        database.broken = True
        with pytest.raises(ServiceError) as caught:
            await submit(core)
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
        assert "the store of runs cannot be used just now: SQLITE_FULL" in caplog.messages
        live = await core.runs.start(RunRequest("text", {"prompt": "waited for"}), "request")
        await live.ended()
        assert live.run.output == "waited for"
        assert await core.runs.find(live.run.task_id) is live.run
        database.broken = False
        assert (await end_of(core, await submit(core))).output == "x"


async def test_a_result_that_cannot_be_kept_now_is_kept_later(database: Flaky) -> None:
    may_end = asyncio.Event()

    async def wait(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await may_end.wait()
        return await echo(request, on_delta)

    task = FakeTask(wait)
    async with opened(task) as core:
        task_id = await submit(core)
        await until(lambda: task.running)
        database.broken = True
        may_end.set()
        await until(lambda: core.runs.live(task_id).run.status.finished)  # type: ignore[union-attr]  # it is live
        await until(lambda: database.refused > 2)
        database.broken = False
        await until(lambda: core.runs.live(task_id) is None)
        assert (await end_of(core, task_id)).output == "x"
    assert len(task.requests) == 1


async def test_a_model_that_is_not_ready_is_waited_for_and_nothing_is_repeated(database: Flaky) -> None:
    async def not_at_once(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        if len(task.requests) == 2:
            raise NotReady("Not yet.", hint="Wait.", retry_after_s=1, lasting=False)
        return await echo(request, on_delta)

    task = FakeTask(not_at_once)
    async with opened(task) as core:
        task_id = await submit(core, workflow_id="chain")
        await until(lambda: len(task.requests) == 2 and core.runs.live(task_id) is None)
        put_off = await core.runs.find(task_id)
        assert put_off is not None
        assert put_off.status is RunStatus.PENDING
        assert (await end_of(core, task_id)).status is RunStatus.COMPLETED
    assert [request.request_id.partition("/")[2] for request in task.requests] == ["a", "b", "b"]


async def test_a_run_that_another_router_has_taken_over_is_dropped(database: Flaky) -> None:
    task = FakeTask(hang)
    async with opened(task) as core:
        task_id = await submit(core)
        await until(lambda: task.running)
        taken = "update runs set owner = 'another', lease_until = lease_until + :by returning id"
        database.execute([Statement(taken, {"by": LEASE_S})])
        for _ in range(durable.RENEW_EVERY):
            await core.runs.durable.beat()
        await until(lambda: core.runs.live(task_id) is None)
        run = await core.runs.find(task_id)
        assert run is not None
        assert run.status is RunStatus.PROCESSING
    assert task.cancelled == 1


async def test_a_run_is_cancelled_for_good_whenever_the_cancel_comes(database: Flaky) -> None:
    task = FakeTask(hang)
    async with opened(task, max_concurrent_count=2) as core:
        for steps in range(12):
            task_id = await submit(core)
            for _ in range(steps):
                await asyncio.sleep(0)
            run = await core.runs.find(task_id)
            assert run is not None
            ended = await core.runs.cancel(run, 5)
            assert ended is not None
            assert ended.status is RunStatus.CANCELLED
            kept = await end_of(core, task_id)
            assert kept.status is RunStatus.CANCELLED
            assert await core.runs.cancel(kept, 5) is None
    assert task.running == 0


async def test_draining_gives_back_what_runs_and_the_next_router_goes_on(database: Flaky) -> None:
    task = FakeTask(hang)
    async with opened(task) as core:
        task_id = await submit(core)
        await until(lambda: task.running)
        await core.runs.drain(0)
        with pytest.raises(ServiceError, match="shutting down"):
            await submit(core)
        run = await core.runs.find(task_id)
        assert run is not None
        assert run.status is RunStatus.PENDING
    assert task.cancelled == 1


async def test_draining_without_a_durable_store_carries_out_what_waits() -> None:
    task = FakeTask()
    async with opened(task, max_concurrent_count=1) as core:
        task_ids = [await submit(core, str(index)) for index in range(10)]
        await core.runs.drain(5)
        assert [(await end_of(core, task_id)).output for task_id in task_ids] == [str(index) for index in range(10)]


async def test_old_runs_are_forgotten_in_passing(database: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "EXPIRE_EVERY", 1)
    async with opened(FakeTask(), retention_s=60) as core:
        task_id = await submit(core)
        await end_of(core, task_id)
        await core.runs.durable.beat()
        assert await core.runs.find(task_id) is not None
        database.execute([Statement("update runs set ended_at = ended_at - 61 returning id", {})])
        await core.runs.durable.beat()
        assert await core.runs.find(task_id) is None


async def test_interleaved_runs_of_two_sessions_stay_apart(database: Flaky) -> None:
    async with opened(FakeTask()) as core:
        sessions = [f"s{index % 2}" for index in range(100)]
        submitted = [
            submit(core, f"{session} {index}", session_id=session, client=session)
            for index, session in enumerate(sessions)
        ]
        task_ids = await asyncio.gather(*submitted)
        runs = [await end_of(core, task_id) for task_id in task_ids]
    assert [(run.session_id, run.output) for run in runs] == [
        (session, f"{session} {index}") for index, session in enumerate(sessions)
    ]
    assert len({task_id[10:] for task_id in task_ids}) == 100, "ids have a part that cannot be guessed"
