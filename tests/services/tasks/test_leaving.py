"""Who leaves before the first frame was read gives the place in the engine up, too."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.engine.base import EncoderInput, EncodingRequest, GenerationRequest, Prompt
from services.engine.sampling.parameters import Sampling
from services.settings import TaskSettings
from services.tasks.admission import Steps
from services.tasks.base import GenerationTask, Inputs, Task, _Prepared
from services.tasks.encoder_task import EncoderTask, Prepared
from services.wire import Readiness, TaskRequest

pytestmark = pytest.mark.unit

SETTINGS = TaskSettings(id="t", task="text-generation", model="m", model_path=Path("m"))


class Endless:
    """An engine whose only place nobody but its owner gives up."""

    readiness = Readiness("ready")
    taken = False

    def start(self) -> None:
        raise AssertionError

    def check_queue(self, coming: int = 0) -> None:
        pass

    def submit(self, _request: object) -> Any:
        self.taken = True
        return self

    async def events(self) -> AsyncGenerator[Any, None]:
        yield await anext(self.events())

    def cancel(self) -> None:
        self.taken = False


class Writer(GenerationTask):
    """Has read its request."""

    def read(self, fields: Mapping[str, Any]) -> Inputs:
        raise AssertionError(fields)

    def _prepare(self, request: TaskRequest) -> _Prepared:
        prompt = Prompt((1,), max_new=1)
        return _Prepared(GenerationRequest((prompt,), Sampling(do_sample=False), request.seed), ["echo"], False, [])


class Encoder(EncoderTask):
    """Has read its request."""

    def prepare(self, fields: Mapping[str, Any]) -> Steps[Prepared]:
        yield
        return Prepared(EncodingRequest((EncoderInput((1,)),)), lambda _rows: fields, [])


@pytest.mark.parametrize("kind", [Writer, Encoder])
async def test_frames_that_nobody_began_to_read_give_the_place_up(kind: type[Writer | Encoder]) -> None:
    engine = Endless()
    task: Task = kind(SETTINGS, engine)
    frames = await task.predict(TaskRequest("r", {}, seed=1, stream=True))
    assert engine.taken
    await frames.aclose()
    assert not engine.taken
