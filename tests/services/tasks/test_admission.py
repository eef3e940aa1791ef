"""Reading in turns: a long request takes its place in the queue, and does not keep a short one waiting."""

import asyncio
from typing import Any

import pytest

from services.errors import ServiceError
from services.tasks.admission import Admission, Steps
from services.wire import Readiness

pytestmark = pytest.mark.unit


class Queue:
    """As much of an engine as admission asks for."""

    def __init__(self, places: int = 8, stage: Any = "ready") -> None:
        self.readiness = Readiness(stage)
        self._places = places

    def start(self) -> None:
        raise AssertionError

    def submit(self, request: Any) -> Any:
        raise AssertionError(request)

    def check_queue(self, coming: int = 0) -> None:
        if coming >= self._places:
            raise ServiceError(503, "overloaded", "full", retry_after_s=1)


async def test_a_short_request_is_read_between_the_steps_of_a_long_one() -> None:
    order: list[str] = []

    def long() -> Steps[str]:
        for number in range(3):
            order.append(f"long {number}")
            yield
        order.append("long ends")
        return "long"

    def short() -> str:
        order.append("short")
        return "short"

    admission = Admission(Queue())
    both = await asyncio.gather(admission.read_in_turns(long()), admission.read(short))
    assert list(both) == ["long", "short"]
    assert order.index("short") < order.index("long ends")


async def test_steps_that_raise_give_their_place_back() -> None:
    def failing() -> Steps[str]:
        yield
        raise ServiceError(422, "bad", "bad")

    admission = Admission(Queue(places=1))
    for _ in range(2):
        with pytest.raises(ServiceError, match="bad"):
            await admission.read_in_turns(failing())


async def test_a_full_queue_and_a_model_that_loads_refuse_before_anything_is_read() -> None:
    def unread() -> str:
        raise AssertionError

    with pytest.raises(ServiceError, match="full"):
        await Admission(Queue(places=0)).read(unread)
    with pytest.raises(ServiceError, match="The model is not ready: loading"):
        await Admission(Queue(stage="loading")).read(unread)
