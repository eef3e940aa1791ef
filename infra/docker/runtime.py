"""The runtime of containers: each unit is a container, which is made anew for each of its lives."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from infra import probe
from infra.docker.container import Container, network_name
from infra.docker.engine import Engine, State
from infra.docker.errors import EngineError
from infra.docker.executor import require_port
from infra.docker.life import ContainerLife, local_process
from infra.docker.reading import Reading
from infra.errors import PassingError, UserError
from infra.runtime import Advance, OnLine
from infra.state import ProcessId
from infra.unit import Address, TcpAddress, Unit
from infra.waiting import first_of

if TYPE_CHECKING:
    from infra.service import Surroundings

_LOOK_INTERVAL_S: Final = 0.5


class DockerRuntime:
    """Runs the units of `project` as `containers`, both by service. running: ids of containers that run already."""

    def __init__(
        self, engine: Engine, project: str, containers: Mapping[str, Container], running: Mapping[str, str]
    ) -> None:
        self.engine = engine
        self.project = project
        self._containers = containers
        self._running = dict(running)

    def place(self, unit: Unit, around: "Surroundings") -> "ContainerPlace":
        """Also for a unit whose container runs: its first life is the rest of that one's."""
        return ContainerPlace(self, unit, self._containers[unit.name], self._running.pop(unit.name, None), around)


class ContainerPlace:
    """The name, networks and published port of a container, while containers come and go."""

    def __init__(
        self, runtime: DockerRuntime, unit: Unit, container: Container, running: str | None, around: "Surroundings"
    ) -> None:
        self.address: Address = unit.address
        self._unit = unit
        self._engine = runtime.engine
        self._project = runtime.project
        self._container = container
        self._running = running
        self._read = around.folder.logs / f"{unit.name}.read"
        self._id = ""
        self._process: ProcessId | None = None
        self._answering: Address | None = None
        self._begun = asyncio.Event()

    async def start(self, on_line: OnLine) -> ContainerLife:
        self._begun.clear()
        self._answering = None
        taken_over = self._running is not None
        try:
            if self._running is not None:
                self._id, self._running = self._running, None
            else:
                self._id = await asyncio.to_thread(self._make)
            self._process = await asyncio.to_thread(local_process, self._engine, self._id)
        except EngineError as error:
            if error.transient:
                raise PassingError.of(error) from None
            raise
        self._begun.set()
        reading = Reading(self._read, resume=taken_over)
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

    async def until_ready(self, path: str, advance: Advance) -> None:
        """By asking it ourselves where it can be reached, or by its own check, which knows less of its progress."""
        await self._begun.wait()
        told = False

        def advance_at_once(message: Mapping[str, Any]) -> None:
            nonlocal told
            told = True
            advance(message)

        def advance_by_check(message: Mapping[str, Any]) -> None:
            if not told:
                advance(message)

        await first_of(self._until_healthy(advance_by_check), self._until_answering(path, advance_at_once))

    async def until_silent(self, path: str) -> None:
        """By asking it ourselves once it has answered us; until then by its own check."""
        if self._answering is None:
            await first_of(self._until_unhealthy(), self._until_answering(path, lambda _: None))
        if self._answering is not None:
            await probe.until_silent(self._answering, path, self._process)

    def close(self) -> None:
        pass  # its networks are shared

    async def _until_answering(self, path: str, advance: Advance) -> None:
        """Where an engine's addresses lead elsewhere, or nowhere, this never ends."""
        while True:
            if (address := self._reachable(await self._state())) is not None:
                await probe.until_ready(address, path, advance)
                self._answering = address
                return
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _until_healthy(self, advance: Advance) -> None:
        while True:
            state = await self._state()
            if state is not None and state.health == "healthy":
                return
            if state is not None:
                with contextlib.suppress(ValueError, AttributeError):
                    said = json.loads(state.health_output)
                    if isinstance(said, dict):
                        advance(said)
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _until_unhealthy(self) -> None:
        while True:
            await asyncio.sleep(probe.LIFE_INTERVAL_S)
            state = await self._state()
            if state is not None and state.health == "unhealthy":
                return

    async def _state(self) -> State | None:
        try:
            return await asyncio.to_thread(self._engine.state, self._id)
        except EngineError:
            return None

    def _reachable(self, state: State | None) -> Address | None:
        """Where this machine may be able to ask it: its own engine's networks mostly can be reached from here."""
        if not self._engine.is_local or state is None:
            return None
        if self._container.published is not None:
            return self._container.published
        return TcpAddress(state.addresses[0], self._container.port) if state.addresses else None
