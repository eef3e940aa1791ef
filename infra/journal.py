"""Writes down what happens to the services: their logs, state.json for our commands, stages.json for the router."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from infra.files import write_private
from infra.folder import RunFolder
from infra.logs import LogFile
from infra.state import RunState, ServiceState

INTERVAL_S = 0.1

Stages = dict[str, dict[str, object]]
"""Of each task, as the wire between tasks and router has it."""

_STAGES = {
    "waiting": "absent",
    "preparing": "downloading",
    "ready": "ready",
    "failed": "failed",
    "stopping": "absent",
    "stopped": "absent",
}
"""A task's stage where it did not name one itself; any other state is `loading`."""


class Listener(Protocol):
    """Who wants to know at once, on the supervisor's own thread; so be quick."""

    def line(self, service: str, text: str) -> None: ...

    def changed(self, service: ServiceState) -> None: ...


class Journal:
    """The files in `folder` about one run, and the news for `listener`.

    tell: takes the stages of the tasks too. redact: takes secrets out of a line. state: the run as a whole, for
    state.json; None keeps no such file.
    """

    def __init__(
        self,
        folder: RunFolder,
        listener: Listener,
        *,
        tell: Callable[[Stages], None],
        redact: Callable[[str], str],
        state: RunState | None,
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._tell = tell
        self._redact = redact
        self._state = state
        self._logs: dict[str, LogFile] = {}
        self._services: dict[str, ServiceState] = {}
        self._changed = asyncio.Event()

    def line(self, service: str, text: str) -> None:
        """A line of a service's output."""
        text = self._redact(text)
        if service not in self._logs:
            self._logs[service] = LogFile(self._folder.logs / f"{service}.log")
        self._logs[service].write(text)
        self._listener.line(service, text)

    def change(self, service: ServiceState) -> None:
        """A service is not as it was."""
        self._services[service.name] = service
        self._changed.set()
        self._listener.changed(service)

    async def keep(self) -> None:
        """Keep the files up to date, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.write()
            await asyncio.sleep(INTERVAL_S)

    def write(self) -> None:
        """A full disk makes the files stale, and nothing else."""
        services = tuple(self._services.values())
        self._tell(stages(services))
        try:
            if self._state is not None:
                replace(self._state, services=services).write(self._folder.state)
            write_private(self._folder.stages, json.dumps(stages(services), indent=2) + "\n")
        except OSError:
            self._changed.set()

    def close(self) -> None:
        for log in self._logs.values():
            log.close()


def stages(services: Iterable[ServiceState]) -> Stages:
    """How far each task is, in the words of the wire between tasks and router."""
    return {service.name: _stage(service) for service in services if service.kind == "task"}


def _stage(service: ServiceState) -> dict[str, object]:
    parts = {
        "stage": service.stage or _STAGES.get(service.state, "loading"),
        "progress": service.progress,
        "seconds_left": service.seconds_left,
        "message": "it was stopped" if service.state in ("stopping", "stopped") else service.last_error,
    }
    return {key: value for key, value in parts.items() if value is not None}
