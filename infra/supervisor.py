"""Keeps all services of one run: starts them at once, tells how they are, and stops them in order."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any

from infra import net
from infra.errors import ExitCode
from infra.files import not_writable, write_private
from infra.folder import RunFolder
from infra.journal import Journal, Listener
from infra.process import ParentPipe
from infra.secrets import Redactor
from infra.service import Failure, Service, Surroundings
from infra.state import RunState, ServiceState
from infra.unit import Unit

HURRY_S = 2.0
"""How long services get that have nothing to finish, and all of them after a second interrupt."""


class StopRequests:
    """Three grades of impatience: end in order, end within seconds, end at once."""

    def __init__(self) -> None:
        self.orderly = asyncio.Event()
        self.hurried = asyncio.Event()
        self.immediate = asyncio.Event()

    def add(self) -> None:
        """One more interrupt: the next grade."""
        for grade in (self.orderly, self.hurried, self.immediate):
            if not grade.is_set():
                grade.set()
                return


class Supervisor:
    """All services of one run by name. `supervise` makes one."""

    def __init__(self, services: dict[str, Service]) -> None:
        self.services = services
        self.stop_requests = StopRequests()

    def snapshot(self) -> tuple[ServiceState, ...]:
        """How all services are now."""
        return tuple(service.snapshot() for service in self.services.values())

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Why services have failed, in the order of the units."""
        failed = (service for service in self.services.values() if service.state == "failed")
        return tuple(service.failure for service in failed if service.failure is not None)

    @property
    def exit_code(self) -> ExitCode:
        """OK unless a service has failed; then what the first failure asks for."""
        return self.failures[0].exit_code if self.failures else ExitCode.OK

    async def settled(self) -> None:
        """Until each service is ready or failed, or somebody asked for a stop."""
        await _first_of(self._all_settled(), self.stop_requests.orderly.wait())

    async def stop(self) -> None:
        """End everything: what takes requests first, so that accepted ones finish, then the tasks behind it."""
        front = [service for service in self.services.values() if service.unit.kind != "task"]
        tasks = [service for service in self.services.values() if service.unit.kind == "task"]
        for group in (front, tasks):
            for service in group:
                service.terminate()
            await asyncio.gather(*map(self._see_off, group))

    async def _all_settled(self) -> None:
        for service in self.services.values():
            await service.settled.wait()

    async def _see_off(self, service: Service) -> None:
        requests = self.stop_requests
        grace_s = service.unit.stop_timeout_s if service.was_ready else min(service.unit.stop_timeout_s, HURRY_S)
        await _first_of(service.ended.wait(), requests.hurried.wait(), timeout_s=grace_s)
        if requests.hurried.is_set():
            await _first_of(service.ended.wait(), requests.immediate.wait(), timeout_s=HURRY_S)
        service.kill()
        await service.ended.wait()


def bind(units: Sequence[Unit]) -> dict[str, socket.socket]:
    """A listening socket for each unit by its name, all or none; raises UserError for the first that cannot be had."""
    sockets: dict[str, socket.socket] = {}
    try:
        for unit in units:
            sockets[unit.name] = net.listen(unit.name, unit.address)
    except BaseException:
        for listener in sockets.values():
            listener.close()
        raise
    return sockets


def stop_timeout_s(units: Sequence[Unit]) -> float:
    """The longest that `Supervisor.stop` takes for these units."""
    front = max((unit.stop_timeout_s for unit in units if unit.kind != "task"), default=0)
    return front + max((unit.stop_timeout_s for unit in units if unit.kind == "task"), default=0)


@contextlib.asynccontextmanager
async def supervise(
    units: Sequence[Unit],
    sockets: dict[str, socket.socket],
    folder: RunFolder,
    listener: Listener,
    *,
    redact: Callable[[str], str] | None = None,
    state: RunState | None = None,
) -> AsyncIterator[Supervisor]:
    """Run `units` inside the block and stop them at its end; SIGINT, SIGTERM and SIGHUP are stop requests.

    redact: takes secrets out of every line; by default those of our own environment. state: the run as a whole, kept in
    `folder.state`; None keeps no such file. Enter it on the main thread.
    """
    try:
        _lay_out(folder, units)
    except OSError as error:
        raise not_writable(folder.root, error) from None
    journal = Journal(folder, listener, redact=redact or Redactor(os.environ), state=state)
    parent = ParentPipe()
    around = Surroundings(folder.settings, folder.empty, parent, journal.line, journal.change)
    supervisor = Supervisor({unit.name: Service(unit, sockets[unit.name], around) for unit in units})
    with _signals(supervisor.stop_requests.add):
        keeper = asyncio.create_task(journal.keep())
        runs = [asyncio.create_task(service.run()) for service in supervisor.services.values()]
        try:
            yield supervisor
        finally:
            await supervisor.stop()
            keeper.cancel()
            parent.close()
            journal.close()
            await asyncio.gather(*runs)


def _lay_out(folder: RunFolder, units: Sequence[Unit]) -> None:
    """Write what the services read at their start."""
    for unit in units:
        write_private(folder.settings / f"{unit.name}.json", unit.settings)
    shutil.rmtree(folder.empty, ignore_errors=True)
    folder.empty.mkdir(mode=0o700)


@contextlib.contextmanager
def _signals(on_signal: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
