"""The runtime of containers: each unit is a container, which is made anew for each of its lives."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from infra import probe
from infra.docker.container import Container, network_name
from infra.docker.engine import Engine, State
from infra.docker.errors import EngineError
from infra.docker.executor import require_port
from infra.docker.life import ContainerLife, local_process
from infra.docker.reading import Reading
from infra.docker.telling import Telling
from infra.errors import PassingError, UserError
from infra.runtime import Advance, OnLine
from infra.starvation import waited_s
from infra.state import ProcessId
from infra.unit import Address, Unit

if TYPE_CHECKING:
    from infra.service import Surroundings

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_INTERVAL_S: Final = 0.2
_PATIENCE_S: Final = 1
"""How long one command in a container asks again and again; each costs the start of an interpreter."""
_BLIND_MISSES: Final = 4
"""Of a container that cannot be seen waiting for a processor, which must so be silent for a minute."""


class DockerRuntime:
    """Runs the units of `project` as `containers`, both by service. running: ids of containers that run already."""

    def __init__(
        self, engine: Engine, project: str, containers: Mapping[str, Container], running: Mapping[str, str]
    ) -> None:
        self.engine = engine
        self.project = project
        self._containers = containers
        self._running = dict(running)
        self.telling = Telling(engine)

    def tell(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Its router cannot read the run's folder."""
        self.telling.tell(stages)

    def place(self, unit: Unit, around: "Surroundings") -> "ContainerPlace":
        """Also for a unit whose container runs: its first life is the rest of that one's."""
        return ContainerPlace(self, unit, self._containers[unit.name], self._running.pop(unit.name, None), around)


class ContainerPlace:
    """The name, networks and published port of a container, while containers come and go."""

    def __init__(
        self, runtime: DockerRuntime, unit: Unit, container: Container, running: str | None, around: "Surroundings"
    ) -> None:
        self.address: Address = unit.address
        self._engine = runtime.engine
        self._project = runtime.project
        self._telling = runtime.telling
        self._container = container
        self._running = running
        self._read = around.folder.logs / f"{unit.name}.read"
        self._id = ""
        self._process: ProcessId | None = None
        self._has_run = False
        self._begun = asyncio.Event()

    @property
    def taken_over(self) -> bool:
        return self._running is not None

    async def start(self, on_line: OnLine) -> ContainerLife:
        self._begun.clear()
        taken_over = self.taken_over
        reading = Reading(self._read, resume=taken_over)  # before there is a container that nobody would follow
        try:
            self._id = await asyncio.to_thread(self._make) if self._running is None else self._running
            self._process = await asyncio.to_thread(local_process, self._engine, self._id)
        except BaseException as error:
            reading.close()
            if isinstance(error, EngineError) and (error.transient or self._has_run):
                raise PassingError.of(error) from None  # an engine that ends refuses much that it does again later
            raise
        self._running = None
        self._has_run = True
        self._begun.set()
        if self._container.kind == "router":
            self._telling.begin(self._id, new=not taken_over)
        return ContainerLife(self._engine, self._id, self._process, on_line, reading)

    def _make(self) -> str:
        """A container that runs.

        An engine may do what we no longer wait for, so first it removes what is left of earlier attempts.
        """
        container, project, engine = self._container, self._project, self._engine
        service = container.service
        for found in engine.containers(project):
            if found.service == service:
                engine.remove(found.id)
        try:
            require_port(engine, container)
        except UserError as error:  # it was free when the run began
            raise PassingError.of(error) from None
        id_ = engine.create(service, container.name(project), container.config(project))
        try:
            for network in container.networks[1:]:
                engine.join(service, id_, network_name(project, network), container.host_name)
            engine.start(service, id_)
        except EngineError:
            with contextlib.suppress(EngineError):  # the next attempt, or the end of the run, removes it
                engine.remove(id_)
            raise
        return id_

    async def until_ready(self, advance: Advance) -> None:
        """By asking it from within, for this machine may not reach it."""
        await self._begun.wait()
        ready = False
        while not ready:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            ready = await self._is_ready(advance)

    async def until_silent(self) -> None:
        """By the engine's own check of it, whose misses do not count while it waits for a processor."""
        misses, seen, since_s, before = 0, "", time.monotonic(), waited_s(self._process)
        while misses < (probe.LIFE_MISSES if before is not None else _BLIND_MISSES):
            await asyncio.sleep(probe.LIFE_INTERVAL_S)
            state = await self._state()
            if state is None or state.checked_at == seen:
                continue
            now_s, after = time.monotonic(), waited_s(self._process)
            if _json_object(state.answer) is not None:
                misses = 0
            elif before is None or after is None or after - before <= probe.STARVED_SHARE * (now_s - since_s):
                misses += 1
            seen, since_s, before = state.checked_at, now_s, after

    def close(self) -> None:
        """Its networks are shared, and stay."""

    async def _is_ready(self, advance: Advance) -> bool:
        """Tells how far it is where it is not; then it may have taken a second."""
        command = [*self._container.health_command(), str(_PATIENCE_S)]
        try:
            status, answer = await _answer(self._engine.run, self._id, command)
        except EngineError:  # it does not run any more, or the engine is away
            return False
        if status != 0 and (said := _json_object(answer)) is not None:
            advance(said)
        return status == 0

    async def _state(self) -> State | None:
        try:
            return await _answer(self._engine.state, self._id)
        except EngineError:
            return None


async def _answer(ask: Callable[P, T], *question: P.args, **more: P.kwargs) -> T:
    """As `asyncio.to_thread`, but the program can end meanwhile: an engine may never answer."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()

    def wait() -> None:
        try:
            answer.set_result(ask(*question, **more))
        except BaseException as error:  # noqa: BLE001  # whoever asked gets it
            answer.set_exception(error)

    threading.Thread(target=wait, name="asks-the-engine", daemon=True).start()
    return await asyncio.wrap_future(answer)


def _json_object(text: str) -> dict[str, Any] | None:
    """What a service says of itself; None for anything else, such as what the engine says of a check."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
