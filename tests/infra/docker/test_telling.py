"""What a router in a container is told of its tasks, and when."""

from collections.abc import Sequence
from typing import Any

import pytest

from infra.docker.container import STAGES
from infra.docker.telling import Telling
from tests.conformance.folder import wait_until
from tests.infra.docker.fakes import OUTAGE, FakeEngine

pytestmark = pytest.mark.unit

READY = {"chat": {"stage": "ready"}}
STOPPED = {"chat": {"stage": "absent", "message": "it was stopped"}, "other": {"stage": "ready"}}
TOLD = '{"chat": {"stage": "absent", "message": "it was stopped"}}'


class Hearing(FakeEngine):
    """heard: containers, and what was written there."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str]] = []

    def run(self, container: str, command: Sequence[str]) -> tuple[int, str]:
        *_, path, text = command
        assert path == STAGES
        self._call("run", container)
        self.heard.append((container, text))
        return 0, ""


def heard(engine: Hearing, *expected: tuple[str, str]) -> None:
    wait_until(lambda: engine.heard == list(expected))


def test_a_router_is_told_why_a_task_does_not_answer_and_when_that_is_over() -> None:
    engine = Hearing()
    telling = Telling(engine)
    telling.begin("router", new=True)
    telling.tell(READY)
    telling.tell(STOPPED)
    heard(engine, ("router", TOLD))
    telling.tell(STOPPED)
    telling.tell(READY)
    heard(engine, ("router", TOLD), ("router", "{}"))


def test_a_new_router_is_told_what_the_one_before_it_knew() -> None:
    engine = Hearing()
    telling = Telling(engine)
    telling.tell(STOPPED)
    telling.begin("first", new=True)
    heard(engine, ("first", TOLD))
    telling.begin("second", new=True)
    heard(engine, ("first", TOLD), ("second", TOLD))


def test_a_router_that_ran_before_forgets_what_another_run_told_it() -> None:
    engine = Hearing()
    Telling(engine).begin("router", new=False)
    heard(engine, ("router", "{}"))


@pytest.mark.parametrize("stages", [{}, READY, {"chat": {"stage": "loading", "progress": 0.5}}], ids=str)
def test_a_new_router_is_not_bothered_with_tasks_that_do_well(stages: dict[str, dict[str, Any]]) -> None:
    engine = Hearing()
    telling = Telling(engine)
    telling.begin("router", new=True)
    telling.tell(stages)
    telling.begin("mark", new=False)
    heard(engine, ("mark", "{}"))


def test_what_an_engine_does_not_take_is_told_with_the_next_change() -> None:
    engine = Hearing()
    engine.refusals = {"run": [OUTAGE]}
    telling = Telling(engine)
    telling.begin("router", new=True)
    telling.tell(STOPPED)
    wait_until(lambda: engine.calls[:1] == [("run", "router")])
    telling.tell(STOPPED)
    heard(engine, ("router", TOLD))


def test_words_to_an_engine_that_hangs_do_not_pile_up_or_keep_the_program_from_its_end() -> None:
    engine = Hearing()
    engine.answers.clear()
    telling = Telling(engine)
    telling.begin("router", new=False)
    wait_until(lambda: len(engine.waiting) == 1)
    for number in range(100):
        telling.tell({"chat": {"message": str(number)}})
    assert [thread.daemon for thread in engine.waiting] == [True]
    engine.answers.set()
    telling.tell(STOPPED)
    heard(engine, ("router", "{}"), ("router", TOLD))
