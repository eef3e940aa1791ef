"""Keeps all services of one run: starts them at once, tells how they are, and stops them in order."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from infra.control import RELEASE, Command, Outcome
from infra.errors import ExitCode
from infra.failure import Failure
from infra.files import not_writable, write_private
from infra.folder import RunFolder
from infra.journal import Journal, Listener
from infra.process import Children
from infra.runtime import Runtime
from infra.secrets import Redactor
from infra.service import Service, Surroundings
from infra.state import RunState, ServiceState
from infra.unit import Unit
from infra.waiting import first_of

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

    def __init__(self, units: Sequence[Unit], around: Surroundings) -> None:
        self.stop_requests = StopRequests()
        self.services: dict[str, Service] = {}
        self._around = around
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self.released = False
        """Whether another run has asked for the services."""
        for unit in units:
            self._launch(Service(unit, around.runtime.place(unit, around), around))

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
        """Until each service is ready, failed or stopped, or somebody asked for a stop of all."""
        await first_of(self._all_settled(self.services), self.stop_requests.orderly.wait())

    async def carry_out(self, command: Command) -> list[Outcome]:
        """What a user wants done with some services; returns when it is done, or when everything ends first."""
        if command.verb == RELEASE:
            self.released = True
            self.stop_requests.orderly.set()
            return []
        names = [name for name in self.services if name in command.services]
        ended = [name for name in names if self.services[name].ended.is_set()]
        if command.verb != "start":
            await self._end(names)
        acted = set(names).difference(ended)
        if command.verb != "stop":
            acted = await self._begin(names)
            await first_of(self._all_settled(names), self.stop_requests.orderly.wait())
        return [_outcome(self.services[name], acted=name in acted) for name in names]

    async def close(self) -> None:
        """End everything for good; what was released goes on without us."""
        self._closing = True
        if self.released:
            for run in self._runs.values():
                run.cancel()
        else:
            await self._end(self.services)
        await asyncio.gather(*self._runs.values(), return_exceptions=self.released)

    async def _end(self, names: Iterable[str]) -> None:
        """End services: first what takes requests, so that accepted ones finish, then the tasks behind it."""
        services = [self.services[name] for name in names]
        front = [service for service in services if service.unit.kind != "task"]
        tasks = [service for service in services if service.unit.kind == "task"]
        for group in (front, tasks):
            for service in group:
                service.terminate()
            await asyncio.gather(*map(self._see_off, group))

    async def _begin(self, names: Iterable[str]) -> set[str]:
        """Start those that do not run; says which these were."""
        begun = set()
        for name in names:
            service = self.services[name]
            if service.stopping:
                await service.ended.wait()
            if service.ended.is_set() and not self._closing:
                self._launch(service.successor())
                begun.add(name)
        return begun

    def _launch(self, service: Service) -> None:
        self.services[service.unit.name] = service
        self._runs[service.unit.name] = asyncio.create_task(service.run())

    async def _all_settled(self, names: Iterable[str]) -> None:
        for name in names:
            await self.services[name].settled.wait()

    async def _see_off(self, service: Service) -> None:
        requests = self.stop_requests
        grace_s = service.unit.stop_timeout_s if service.was_ready else min(service.unit.stop_timeout_s, HURRY_S)
        await first_of(service.ended.wait(), requests.hurried.wait(), timeout_s=grace_s)
        if requests.hurried.is_set():
            await first_of(service.ended.wait(), requests.immediate.wait(), timeout_s=HURRY_S)
        service.kill()
        await service.ended.wait()


def _outcome(service: Service, *, acted: bool) -> Outcome:
    failure = service.failure if service.state == "failed" else None
    if failure is None:
        return Outcome(service.unit.name, acted, service.state)
    return Outcome(service.unit.name, acted, service.state, failure.message, failure.hint, int(failure.exit_code))


def stop_timeout_s(units: Sequence[Unit]) -> float:
    """The longest that `Supervisor.close` takes for these units."""
    front = max((unit.stop_timeout_s for unit in units if unit.kind != "task"), default=0)
    return front + max((unit.stop_timeout_s for unit in units if unit.kind == "task"), default=0)


@contextlib.asynccontextmanager
async def supervise(
    units: Sequence[Unit],
    runtime: Runtime,
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
    journal = Journal(folder, listener, tell=runtime.tell, redact=redact or Redactor(os.environ), state=state)
    children = Children(folder.empty)
    supervisor = Supervisor(units, Surroundings(folder, runtime, children, journal.line, journal.change))
    with _signals(supervisor.stop_requests.add):
        keeper = asyncio.create_task(journal.keep())
        try:
            yield supervisor
        finally:
            await supervisor.close()
            keeper.cancel()
            children.close()
            journal.close()


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
