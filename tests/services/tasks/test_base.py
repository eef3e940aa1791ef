"""A request is refused before anything is read of it when there is no place for it."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.engine.base import GenerationRequest
from services.errors import ServiceError
from services.settings import TaskSettings
from services.tasks.base import GenerationTask, Inputs
from services.wire import Readiness, TaskRequest

pytestmark = pytest.mark.unit

SETTINGS = TaskSettings(id="t", task="text-generation", model="m", model_path=Path("m"))
REQUEST = TaskRequest("r", {}, seed=1, stream=False)


class FullAfterOne:
    """An engine with one place."""

    readiness = Readiness("ready")

    def start(self) -> None:
        raise AssertionError

    def check_queue(self, coming: int = 0) -> None:
        if coming:
            raise ServiceError(503, "overloaded", "full", retry_after_s=1)

    def submit(self, request: GenerationRequest) -> Any:
        raise AssertionError(request)


class SlowReader(GenerationTask):
    """Reads a request once it is let."""

    go_on = threading.Event()

    def read(self, fields: Mapping[str, Any]) -> Inputs:
        self.go_on.wait()
        raise ServiceError(422, "read", str(fields))

    def _prepare(self, request: TaskRequest) -> Any:
        return self.read(request.fields)


async def test_what_is_still_being_read_takes_a_place() -> None:
    task = SlowReader(SETTINGS, FullAfterOne())
    first = asyncio.create_task(task.predict(REQUEST))
    await asyncio.sleep(0)
    with pytest.raises(ServiceError, match="full"):
        await task.predict(REQUEST)
    task.go_on.set()
    with pytest.raises(ServiceError) as read:
        await first
    assert read.value.code == "read"
    with pytest.raises(ServiceError) as read:
        await task.predict(REQUEST)
    assert read.value.code == "read"
