"""The runtime of processes: each unit behind a socket that is bound before anything starts."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import net
from infra.probe import until_ready, until_silent
from infra.process import Child, python_command
from infra.runtime import Advance, OnLine
from infra.state import ProcessId
from infra.unit import Address, Unit, UnixAddress

if TYPE_CHECKING:
    from infra.service import Surroundings


class ProcessPlace:
    """A listening socket, which stays open while processes come and go."""

    def __init__(self, unit: Unit, listener: socket.socket, around: "Surroundings") -> None:
        self._unit = unit
        self._listener = listener
        self._around = around
        self._process: ProcessId | None = None

    @property
    def address(self) -> Address:
        return net.bound_address(self._listener, self._unit.address)

    @property
    def taken_over(self) -> bool:
        """Never, for processes end with who started them."""
        return False

    async def start(self, on_line: OnLine) -> Child:
        unit, descriptor = self._unit, self._listener.fileno()
        settings = self._around.folder.settings / f"{unit.name}.json"
        command = python_command(unit.module, str(settings), "--fd", str(descriptor), "--parent", str(os.getpid()))
        child = await self._around.children.start(command, unit.environment, on_line, (descriptor,))
        self._process = child.id
        return child

    async def until_ready(self, advance: Advance) -> None:
        await until_ready(self.address, self._unit.ready_path, advance)

    async def until_silent(self) -> None:
        await until_silent(self.address, self._unit.ready_path, self._process)

    def close(self) -> None:
        self._listener.close()


class ProcessRuntime:
    """Has a socket for each unit from the start, and binds it again for one that is started again. `bind` makes it."""

    def __init__(self, sockets: dict[str, socket.socket]) -> None:
        self._sockets = sockets

    def place(self, unit: Unit, around: "Surroundings") -> ProcessPlace:
        listener = self._sockets.pop(unit.name, None)
        if listener is None:
            if isinstance(unit.address, UnixAddress):
                Path(unit.address.path).unlink(missing_ok=True)
            listener = net.listen(unit.name, unit.address)
        return ProcessPlace(unit, listener, around)

    def tell(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Its router reads the run's folder."""


def bind(units: Sequence[Unit]) -> ProcessRuntime:
    """Binds the sockets of all units, or none; raises UserError for the first that cannot be had."""
    sockets: dict[str, socket.socket] = {}
    try:
        for unit in units:
            sockets[unit.name] = net.listen(unit.name, unit.address)
    except BaseException:
        for listener in sockets.values():
            listener.close()
        raise
    return ProcessRuntime(sockets)
