"""Which jobs start, are skipped and start anew, whatever the order in which they end."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.analysis.reachability import Node, unstartable
from services.router.execution.scheduler import Schedule
from services.router.graph import DelayWork, Job

pytestmark = pytest.mark.unit

WORK = DelayWork("0", None, None)
Groups = tuple[tuple[str, ...], ...]
Choose = Callable[[str, int], str | None]
Log = list[tuple[str, int]]


def jobs(written: dict[str, tuple[str, str]], max_run_count: int = 25) -> list[Job]:
    """Jobs by id with what they wait for (`a b`: both; `a|b`: one of them) and where they may route to."""
    routed = {target for _, targets in written.values() for target in targets.split()}
    return [
        Job(
            name,
            tuple(tuple(group.split("|")) for group in needs.split()),
            WORK,
            None,
            tuple(targets.split()),
            name in routed,
            max_run_count=max_run_count,
        )
        for name, (needs, targets) in written.items()
    ]


def names(schedule: Schedule) -> list[str]:
    """What starts now, as `job` or `job.visit`."""
    return [name if visit == 1 else f"{name}.{visit}" for (name, visit) in _started(schedule)]


def _started(schedule: Schedule) -> list[tuple[str, int]]:
    return [(start.job.id, start.visit) for start in schedule.start()]


def test_jobs_wait_for_all_groups_and_one_of_each() -> None:
    schedule = Schedule(jobs({"z": ("a|b c", ""), "a": ("", ""), "b": ("", ""), "c": ("", "")}))
    assert names(schedule) == ["a", "b", "c"]
    schedule.settle("b", 1)
    assert names(schedule) == []
    schedule.settle("c", 1)
    assert names(schedule) == ["z"]
    schedule.settle("a", 1)
    assert names(schedule) == []


BRANCH = {"start": ("", "yes no"), "yes": ("", ""), "no": ("", ""), "after": ("no", ""), "both": ("yes no", "")}


@pytest.mark.parametrize(
    ("target", "first", "then"), [("yes", ["yes"], ["both"]), ("no", ["no"], ["after", "both"]), (None, [], [])]
)
def test_what_is_not_chosen_is_skipped_with_what_follows_only_it(
    target: str | None, first: list[str], then: list[str]
) -> None:
    schedule = Schedule(jobs(BRANCH))
    assert names(schedule) == ["start"]
    schedule.settle("start", 1, target=target)
    assert names(schedule) == first
    if target is not None:
        schedule.settle(target, 1)
    assert names(schedule) == then


def test_a_job_is_skipped_only_when_nobody_can_route_to_it_any_more() -> None:
    written = {"a": ("", "x y"), "b": ("slow", "x"), "slow": ("", ""), "x": ("", ""), "y": ("", ""), "end": ("x y", "")}
    schedule = Schedule(jobs(written))
    assert names(schedule) == ["a", "slow"]
    schedule.settle("a", 1, target="y")
    assert names(schedule) == ["y"]
    schedule.settle("y", 1)
    assert names(schedule) == []
    schedule.settle("slow", 1)
    assert names(schedule) == ["b"]
    schedule.settle("b", 1)
    assert names(schedule) == ["end"]


def test_a_routed_job_runs_though_all_it_waits_for_was_skipped() -> None:
    schedule = Schedule(jobs({"a": ("", "b"), "after": ("a", ""), "b": ("a", "")}))
    assert names(schedule) == ["a"]
    schedule.settle("a", 1, ran=False, target="b")
    starts = schedule.start()
    assert [(start.job.id, start.routed_by) for start in starts] == [("b", ("a",))]
    schedule.settle("b", 1)
    assert names(schedule) == []


LOOP = {
    "start": ("", "draft"),
    "draft": ("", ""),
    "side": ("draft", ""),
    "check": ("draft", "draft done"),
    "done": ("side", ""),
}


def test_routing_back_takes_back_all_that_follows() -> None:
    schedule = Schedule(jobs(LOOP))
    for expected, ends, target in (
        (["start"], "start", "draft"),
        (["draft"], "draft", None),
        (["side", "check"], "check", "draft"),
    ):
        assert names(schedule) == expected
        taken_back = schedule.settle(ends, 1, target=target)
    assert taken_back == {"draft", "side", "check", "done"}
    assert not schedule.runs("side", 1)
    assert schedule.settle("side", 1) == set()
    assert names(schedule) == ["draft.2"]
    schedule.settle("draft", 2)
    assert names(schedule) == ["side.2", "check.2"]
    schedule.settle("check", 2, target="done")
    schedule.settle("side", 2)
    assert names(schedule) == ["done.2"]


def test_endless_routing_fails() -> None:
    schedule = Schedule(jobs(LOOP, max_run_count=3))
    schedule.start()
    schedule.settle("start", 1, target="draft")
    for visit in (1, 2, 3):
        for name, target in (("draft", None), ("side", None), ("check", "draft")):
            schedule.start()
            schedule.settle(name, visit, target=target)
    with pytest.raises(
        ServiceError, match='The job "draft" was routed to again and again and has run 3 times'
    ) as caught:
        schedule.start()
    assert (caught.value.status, caught.value.code) == (500, "too_many_visits")


def test_jobs_that_wait_for_each_other_through_routings_do_not_block_the_run() -> None:
    written = {"a": ("", "x y"), "x": ("y", ""), "b": ("x", "y"), "y": ("", "")}
    schedule = Schedule(jobs(written))
    assert names(schedule) == ["a"]
    schedule.settle("a", 1, target="x")
    assert names(schedule) == ["x"]
    schedule.settle("x", 1)
    assert names(schedule) == ["b"]
    schedule.settle("b", 1)
    assert names(schedule) == []


ORDERS = st.integers(0, 999).map(random.Random)


@st.composite
def graphs(draw: st.DrawFn, ordered: bool = False) -> list[Job]:
    """Jobs that wait for earlier ones and route to any; none that could never start. ordered: routers wait for each
    other, so that no two of them end in either order."""
    size = draw(st.integers(2, 8))
    ids = [f"j{index}" for index in range(size)]
    written: dict[str, tuple[str, str]] = {}
    last_router = ""
    for index, name in enumerate(ids):
        earlier = st.lists(st.sampled_from(ids[:index]), min_size=1, max_size=2, unique=True).map("|".join)
        needs = draw(st.lists(earlier, max_size=2)) if index else []
        targets = draw(st.just([]) | st.lists(st.sampled_from(ids), min_size=1, max_size=2, unique=True))
        if ordered and targets:
            needs += [last_router] if last_router else []
            last_router = name
        written[name] = (" ".join(needs), " ".join(targets))
    made = jobs(written, max_run_count=6)
    nodes = {job.id: Node(job.needs, [other.id for other in made if job.id in other.targets]) for job in made}
    assume(not unstartable(nodes))
    return made


def by_seed(made: Sequence[Job], seed: int) -> Choose:
    """Where each visit of a job routes to, if anywhere."""
    targets = {job.id: job.targets for job in made}

    def choose(name: str, visit: int) -> str | None:
        return random.Random(f"{seed} {name} {visit}").choice([*targets[name], None]) if targets[name] else None

    return choose


def play(made: list[Job], choose: Choose, order: random.Random) -> tuple[dict[str, int] | None, Log]:
    """The last visits of the jobs that ran, None when there were too many; all visits in the order of their ends."""
    schedule = Schedule(made)
    running: dict[str, int] = {}
    ran: dict[str, int] = {}
    log: Log = []
    while True:
        try:
            starts = schedule.start()
        except ServiceError:
            return None, log
        for start in starts:
            needs = start.job.needs
            assert not needs or start.routed_by or any(name in ran for group in needs for name in group)
            assert all(ran.keys() & set(group) or not running.keys() & set(group) for group in needs)
            assert bool(start.routed_by) == start.job.routed
            running[start.job.id] = start.visit
        if not running:
            return ran, log
        name = order.choice(sorted(running))
        visit = running.pop(name)
        ran[name] = visit
        log.append((name, visit))
        for taken in schedule.settle(name, visit, target=choose(name, visit)):
            running.pop(taken, None)
            ran.pop(taken, None)


@given(graphs(), st.integers(), ORDERS)
def test_every_run_ends_and_no_visit_happens_twice(made: list[Job], seed: int, order: random.Random) -> None:
    ran, log = play(made, by_seed(made, seed), order)
    event("too many visits" if ran is None else "ended")
    assert len(set(log)) == len(log)


@given(graphs(ordered=True), st.integers(), ORDERS, ORDERS)
def test_the_order_of_finishing_changes_nothing(
    made: list[Job], seed: int, one: random.Random, other: random.Random
) -> None:
    choose = by_seed(made, seed)
    assert play(made, choose, one)[0] == play(made, choose, other)[0]


@given(graphs(), st.integers(), ORDERS, st.data())
def test_ending_in_the_same_order_gives_the_same_run(
    made: list[Job], seed: int, order: random.Random, data: st.DataObject
) -> None:
    """However routers race: this is what a journal's order makes sure of."""
    choose = by_seed(made, seed)
    ran, log = play(made, choose, order)

    class AsBefore(random.Random):
        def choice(self, running: Sequence[str]) -> str:  # type: ignore[override]  # of anything, there
            name, _ = rest.pop(0)
            assert name in running
            return name

    rest = list(log)
    assert play(made, choose, AsBefore()) == (ran, log)
