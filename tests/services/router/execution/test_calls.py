"""Calls in a cluster: they wait for a task that is not there, and are made once more where one ended over them."""

import asyncio
from collections.abc import Callable

import pytest

from services.errors import ServiceError
from services.router.clients.client import NotReady, OnDelta
from services.router.execution import hold
from services.router.messages import Run, RunRequest, RunStatus
from services.wire import Done, Readiness, TaskRequest
from tests.services.router.engines import ClusterBench, FakeTask, MemoryJournal, ask, echo, until

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "_LOOK_EVERY_S", 0.005)


def absent(**changes: bool) -> NotReady:
    return NotReady("Not there.", hint="Again.", retry_after_s=2, **{"lasting": False, "absent": True, **changes})


def crashed() -> ServiceError:
    return ServiceError(502, "task_crashed", "It ended.")


def silenced() -> NotReady:
    """What becomes of a request over which a task gives no sign of life."""
    return absent(sent=True)


class SleepingTask(FakeTask):
    """Is there once it is awake; `answers` are raised first, one for each request that reaches it."""

    def __init__(self, *answers: Callable[[], ServiceError], awake: bool = False) -> None:
        super().__init__(self._answer)
        self.awake = awake
        self.reached = 0
        self._answers = list(answers)

    async def _answer(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await asyncio.sleep(0)
        if not self.awake:
            raise absent()
        self.reached += 1
        if self._answers:
            raise self._answers.pop(0)()
        return await echo(request, on_delta)

    async def readiness(self) -> Readiness:
        return Readiness("ready" if self.awake else "absent")


def outcome(run: Run) -> tuple[RunStatus, int, str | None]:
    return run.status, run.error_status, None if run.error is None else run.error["code"]


COMPLETED = (RunStatus.COMPLETED, 500, None)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("first", [crashed, silenced])
@pytest.mark.parametrize(("second", "status", "code"), [(crashed, 502, "task_crashed"), (silenced, 503, "not_ready")])
async def test_a_request_goes_to_two_pods_at_most(
    first: Callable[[], ServiceError], second: Callable[[], ServiceError], status: int, code: str, kept: bool
) -> None:
    """Whatever becomes of it there: else one request would end, or hang, them all."""
    task = SleepingTask(first, second, awake=True)
    run = await ClusterBench(task).run(MemoryJournal() if kept else None)
    assert outcome(run) == (RunStatus.FAILED, status, code)
    assert task.reached == 2


@pytest.mark.parametrize("first", [crashed, silenced])
async def test_a_request_over_which_a_pod_is_lost_is_answered_by_another(first: Callable[[], ServiceError]) -> None:
    task = SleepingTask(first, awake=True)
    assert outcome(await ClusterBench(task).run()) == COMPLETED
    assert task.reached == 2


@pytest.mark.parametrize("may_sleep", [True, False])
@pytest.mark.parametrize(
    ("raised", "code"), [(absent, "not_ready"), (crashed, "task_crashed"), (silenced, "not_ready")]
)
async def test_outside_of_a_cluster_nothing_is_waited_for_and_nothing_is_sent_twice(
    raised: Callable[[], ServiceError], code: str, may_sleep: bool
) -> None:
    task = SleepingTask(raised, awake=True)
    bench = ClusterBench(task, in_cluster=False, may_sleep=may_sleep)
    run = await bench.run()
    assert run.error is not None
    assert (run.error["code"], len(task.requests), bench.engine.holds) == (code, 1, {"c": None})


async def test_who_waited_is_not_refused_because_others_came_meanwhile() -> None:
    task = SleepingTask()
    bench = ClusterBench(task, max_concurrent_count=1, max_queue_length=4)
    gate, held, go = bench.engine.gates["c"], bench.engine.holds["c"], asyncio.Event()
    assert held is not None

    async def answer(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        await go.wait()
        return await echo(request, on_delta)

    waiting = [asyncio.create_task(bench.run(client="a")) for _ in range(5)]
    await until(lambda: held.waiting == 5)
    task.answer = answer
    new = [asyncio.create_task(bench.run(client="a")) for _ in range(5)]
    await until(lambda: gate.queued == 4)
    task.awake = True
    await until(lambda: held.waiting == 0)
    await asyncio.sleep(0)
    go.set()
    assert [outcome(await each) for each in waiting] == [COMPLETED] * 5
    assert [outcome(await each) for each in new] == [COMPLETED] * 5


async def test_a_kept_run_that_silenced_a_pod_ends_when_no_other_comes() -> None:
    """Else it would silence each pod that comes."""
    task = SleepingTask(silenced, awake=True)
    bench = ClusterBench(task, may_sleep=False)
    held = bench.engine.holds["c"]
    assert held is not None
    held._patience_s = 0.05
    running = asyncio.create_task(bench.run(MemoryJournal()))
    await until(lambda: task.reached)
    task.awake = False
    assert outcome(await running) == (RunStatus.FAILED, 503, "not_ready")


@pytest.mark.parametrize(("count", "queue"), [(20, 16), (32, 16), (100, 64), (100, 1)])
@pytest.mark.parametrize("at_once", [0, 1, 3])
async def test_a_run_is_not_refused_because_of_its_own_calls_while_its_task_sleeps(
    count: int, queue: int, at_once: int
) -> None:
    task = SleepingTask()
    bench = ClusterBench(task, ask("a", repeat_count=count), max_concurrent_count=at_once, max_queue_length=queue)
    held = bench.engine.holds["c"]
    assert held is not None
    run = asyncio.create_task(bench.run())
    most = min(count, at_once or max(queue // 2, 1))
    await until(lambda: held.waiting == most)
    task.awake = True
    assert outcome(await run) == COMPLETED
    assert task.reached == count


async def test_each_miss_is_borne_as_long_as_the_first() -> None:
    """The time in which it computed on a pod is no time in which it waited for one."""
    task = SleepingTask(absent)
    bench = ClusterBench(task, may_sleep=False)
    held = bench.engine.holds["c"]
    assert held is not None
    held._patience_s = 0.2

    async def compute_and_end() -> None:
        await until(lambda: held.waiting == 1)
        computes = asyncio.Event()
        task.answer, others = _after(computes, task), task.answer
        task.awake = True
        await until(lambda: task.running)
        await asyncio.sleep(0.25)  # longer than the patience
        task.awake, task.answer = False, others
        computes.set()
        await until(lambda: held.waiting == 1)
        task.awake = True

    run, _ = await asyncio.gather(bench.run(), compute_and_end())
    assert outcome(run) == COMPLETED


def _after(event: asyncio.Event, task: FakeTask) -> Callable[[TaskRequest, OnDelta | None], "asyncio.Future[Done]"]:
    async def answer(_: TaskRequest, __: OnDelta | None) -> Done:
        await event.wait()
        raise crashed()

    return answer  # type: ignore[return-value]


async def test_a_run_whose_time_ends_while_it_waits_says_what_it_missed() -> None:
    assert outcome(await ClusterBench(SleepingTask(), run_timeout_s=0.05).run()) == (
        RunStatus.FAILED,
        503,
        "not_ready",
    )


async def test_a_run_whose_time_ends_elsewhere_does_not_say_what_it_missed_before() -> None:
    """A job had waited, its own time ended over it, and the run went on."""
    impatient = ask("a", timeout_s=0.05, on_error={"output": "none"})
    later = {"id": "d", "type": "delay", "duration": "5s", "depends_on": (("a",),)}
    run = await ClusterBench(SleepingTask(), impatient, later, run_timeout_s=0.2).run()
    assert outcome(run) == (RunStatus.FAILED, 504, "deadline_exceeded")
    assert run.waiting == 0


async def test_a_run_waits_until_the_last_of_its_calls_has_ended() -> None:
    jobs = (ask("a", timeout_s=0.05, on_error={"output": "none"}), ask("b"))
    task = SleepingTask()
    bench = ClusterBench(task, *jobs)
    run = Run("T", "w", "R", kept=False)
    seen: list[RunStatus] = []

    async def watch() -> None:
        await until(lambda: run.waiting == 2)
        await until(lambda: run.waiting == 1)
        seen.append(run.status)
        task.awake = True

    request = RunRequest(input={"prompt": "x"})
    await asyncio.gather(bench.carrier.carry_out(bench.engine.graph.workflows["w"], request, run), watch())
    assert (run.status, run.waiting, seen) == (RunStatus.COMPLETED, 0, [RunStatus.PROCESSING])


async def test_a_router_that_ends_tells_who_waits_to_come_again_and_leaves_kept_runs_to_others() -> None:
    bench = ClusterBench(SleepingTask())
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(0)
    bench.engine.leave()
    run = await running
    assert (*outcome(run), run.retry_after_s) == (RunStatus.FAILED, 503, "shutting_down", 5)

    task = SleepingTask(crashed, awake=True)
    bench = ClusterBench(task)
    kept = asyncio.create_task(bench.run(MemoryJournal()))
    await until(lambda: task.reached == 1)
    task.awake = False
    bench.engine.leave()
    with pytest.raises(NotReady):
        await kept
