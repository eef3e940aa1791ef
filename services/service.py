"""One task as one BentoML service, made from its settings; nothing is generated.

A Bento's service module is two lines, and stock `bentoml serve` serves it as `services.entry` does:

    settings = TaskSettings.model_validate_json(Path(__file__).with_name("task.json").read_text())
    service = make_service(settings)
"""

import contextlib
import gc
import hashlib
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from services.catalog import TASKS
from services.engine.base import AnyHost, AnyRunner
from services.engine.loading.checkpoint import read_ahead, read_checkpoint
from services.engine.loading.machine import processors, resident_bytes
from services.engine.threaded import ThreadEngine
from services.metrics import Metrics
from services.routes import Routes
from services.settings import TaskResources, TaskSettings
from services.start_record import StartRecord
from services.tasks.base import Task
from services.wire import Frame, Readiness, TaskRequest

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_DEACTIVATE_ASYNC_LOAD": "1",  # four threads that widen weights bring a team of torch's each
    "BENTOML_DO_NOT_TRACK": "True",
    "OPENBLAS_NUM_THREADS": "1",  # numpy's
    "TOKENIZERS_PARALLELISM": "false",
}
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")

_LAST_WORDS_S = 0.5
"""How long a process that must end still answers `/readyz` with the reason."""

_GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""Of the three generations; Python's own are 700, 10 and 10."""

_log = logging.getLogger(__name__)


class TaskWorker:
    """The model of one process: a task, its engine, and how the process ends when it cannot serve.

    Cheap to make, since `bentoml serve` imports the service in its parent process too; torch comes with `start`.
    """

    def __init__(self, settings: TaskSettings) -> None:
        self._settings = settings
        self._start = StartRecord(settings)
        self._engine = ThreadEngine(self._load, max_queue_length=settings.max_queue_length, on_end=end_soon)
        self.metrics = Metrics(settings.id, self._engine)
        self._task: Task = importlib.import_module(TASKS[settings.task].module).Task(settings, self._engine)

    @property
    def readiness(self) -> Readiness:
        return self._start.judge(self._engine.readiness)

    def start(self) -> None:
        """Begin to load; a second call does nothing."""
        os.environ.update(_QUIET)
        _limit_threads(self._settings.threads)
        for name in _SECRETS:
            os.environ.pop(name, None)
        self._engine.start()

    async def predict(self, request: TaskRequest) -> AsyncGenerator[Frame, None]:
        return await self._task.predict(request)

    def _load(self, host: AnyHost) -> AnyRunner:
        checkpoint = read_checkpoint(self._settings.model_path, self._settings.model)  # says no before torch loads
        threading.Thread(target=read_ahead, args=(self._settings.model_path,), name="read-ahead", daemon=True).start()
        with _what_is_made_stays():
            from services.engine.loading.libraries import import_libraries

            import_libraries()
            from services.engine.choice import load, make_runner

            model = load(self._settings, checkpoint)
            self._task.setup(model)
            runner = make_runner(model, self._settings, host)
        seconds, megabytes = self._start.keep(), resident_bytes() / 1e6
        _log.info("%s on %s, loaded in %.1f s, %.0f MB", self._settings.model, model.placement, seconds, megabytes)
        return runner


@contextlib.contextmanager
def _what_is_made_stays() -> Iterator[None]:
    """No garbage is looked for inside the block, nor ever again among what is made in it: libraries and a network.

    That takes a sixth of the time to load, and tens of milliseconds each time later. What requests leave is looked
    through less often, too: nearly all of it is freed without that.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        gc.enable()


def _limit_threads(asked: int | None) -> None:
    """For torch, before it is imported: torch.set_num_threads would make a second pool, for a library unused here.

    Where nobody says how many, no more than the container may use at once.
    """
    if asked is not None:
        os.environ["OMP_NUM_THREADS"] = str(asked)
    elif (limit := processors()) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(limit))


def end_soon(exit_code: int) -> None:
    """End the process once whoever asks has read why."""
    threading.Timer(_LAST_WORDS_S, _end, (exit_code,)).start()


def _end(exit_code: int) -> None:
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)


def service_name(component: str) -> str:
    """`task-` and the component's id as a DNS label of at most 50 characters; a hash keeps apart what becomes alike.

    BentoML refuses services that are named like its own settings, and Kubernetes refuses dots and capitals.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", component.lower()).strip("-")
    name = f"task-{slug}"
    if slug == component and len(name) <= 50:
        return name
    digest = hashlib.sha256(component.encode()).hexdigest()[:8]
    return f"{name[:41].rstrip('-')}-{digest}"


def make_service(settings: TaskSettings, worker: TaskWorker | None = None) -> Any:
    """A main `bentoml.Service`: no dependencies, no workers beside this process, access log and metrics off."""
    import bentoml

    served = worker or TaskWorker(settings)

    class Model:
        """Starts the worker; `/predict` does not go through BentoML's own bodies and limits."""

        def __init__(self) -> None:
            served.start()

        async def __is_ready__(self) -> bool:
            return served.readiness.stage == "ready"

    service = bentoml.service(
        name=service_name(settings.id),
        workers=1,
        resources=_resources(settings.resources),
        traffic={"timeout": 60},
        logging={"access": {"enabled": False}},
        metrics={"enabled": False},
    )(Model)
    service.add_asgi_middleware(Routes, worker=served)
    return service


def _resources(resources: TaskResources) -> dict[str, str | int]:
    """Only what is asked for: BentoML refuses a GPU count of 0."""
    given: dict[str, str | int | None] = {
        "cpu": resources.cpu,
        "memory": resources.memory,
        "gpu": resources.gpu or None,
    }
    return {name: value for name, value in given.items() if value is not None}
