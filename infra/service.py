"""The life of one unit: prepared, started, watched until it is ready, started again when it ends, stopped when told."""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra import net
from infra.errors import ExitCode, UserError
from infra.failure import HOPELESS, Failure, ended, ending, too_slow
from infra.probe import until_ready, until_silent
from infra.process import Child, ParentPipe, child_environment, python_command
from infra.restart import CRASH_LIMIT, RestartPolicy
from infra.state import ServiceState
from infra.unit import Unit, UnitState, UnixAddress

LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the services of one run share.

    working_directory: an empty folder. on_line: (service, line of its output). on_change: a service in a new state.
    """

    settings_folder: Path
    working_directory: Path
    parent: ParentPipe
    on_line: Callable[[str, str], None]
    on_change: Callable[[ServiceState], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a start is: a task's own stage, a share from 0 to 1, and an estimate."""

    stage: str | None = None
    share: float | None = None
    seconds_left: float | None = None

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> "Progress":
        return cls(message.get("stage"), message.get("progress"), message.get("seconds_left"))


class Service:
    """Runs `unit` behind `listener`, a socket that stays open while processes come and go; None: it opens its own.

    settled: set once it is ready, failed or stopped for the first time. ended: set when nothing more will happen.
    was_ready: whether the process that runs has ever been ready, and so may have requests to finish.
    """

    def __init__(self, unit: Unit, listener: socket.socket | None, around: Surroundings) -> None:
        self.unit = unit
        self.address = net.bound_address(listener, unit.address) if listener else unit.address
        self.state: UnitState = "waiting"
        self.failure: Failure | None = None
        self.was_ready = False
        self.settled = asyncio.Event()
        self.ended = asyncio.Event()
        self._listener = listener
        self._around = around
        self._prepared = False
        self._stopping = asyncio.Event()
        self._timed_out = False
        self._hung = False
        self._child: Child | None = None
        self._restarts = 0
        self._progress = Progress()
        self._lines: deque[str] = deque(maxlen=LAST_LINES)

    def snapshot(self) -> ServiceState:
        """This moment, for state.json and for tables."""
        return ServiceState(
            name=self.unit.name,
            kind=self.unit.kind,
            state=self.state,
            address=net.address_text(self.address),
            process=self._child.id if self._child else None,
            restarts=self._restarts,
            last_error=self.failure.message if self.failure else None,
            hint=self.failure.hint if self.failure else None,
            stage=self._progress.stage,
            progress=self._progress.share,
            seconds_left=self._progress.seconds_left,
            last_lines=tuple(self._lines) if self.state == "failed" else (),
        )

    async def run(self) -> None:
        """Keep the unit running until it is told to stop or beyond help."""
        self._changed()
        try:
            listener = self._listen()
            if listener and (self.unit.prepare is None or await self._prepare(self.unit.prepare)):
                self._prepared = True
                await self._keep_serving(listener)
        finally:
            if self._listener is not None:
                self._listener.close()
            if self.state != "failed":
                self._become("stopped")
            self.settled.set()
            self.ended.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    def successor(self) -> "Service":
        """The same unit at the same address, to be run once this one has ended."""
        prepare = None if self._prepared else self.unit.prepare
        return Service(replace(self.unit, address=self.address, prepare=prepare), None, self._around)

    def terminate(self) -> None:
        """Ask it to end in order, and start nothing more."""
        self._stopping.set()
        if not self.ended.is_set():
            self._become("stopping")
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    def _listen(self) -> socket.socket | None:
        """Where its processes serve; None when the address can not be had any more."""
        if self._listener is None:
            if isinstance(self.address, UnixAddress):
                Path(self.address.path).unlink(missing_ok=True)
            try:
                self._listener = net.listen(self.unit.name, self.address)
            except UserError as error:
                self._fail(Failure(error.message, error.hint, error.exit_code))
        return self._listener

    async def _prepare(self, command: Sequence[str]) -> bool:
        """Run the preparation to its end; says whether the unit can start."""
        self._become("preparing")
        error: dict[str, Any] = {}

        def read(line: str) -> None:
            message = _json_object(line)
            if message is None:
                self._print(line)
            elif "error" in message:
                error.update(message["error"])
            else:
                self._advance(message)

        status = await self._run_child(command, self.unit.prepare_environment, read)
        if status != 0 and not self._stopping.is_set():
            message = error.get("message") or f"{self.unit.name} could not be prepared: {ending(status)}"
            code = ExitCode(status) if status in (ExitCode.FILE, ExitCode.ENVIRONMENT) else ExitCode.FAILED
            self._fail(Failure(message, error.get("hint"), code))
        return status == 0

    async def _keep_serving(self, listener: socket.socket) -> None:
        policy = RestartPolicy()
        while not self._stopping.is_set():
            self._become("restarting" if self._restarts else "starting")
            status = await self._serve(listener)
            if self._stopping.is_set():
                return
            failure = self._judge(status)
            if status in HOPELESS or self._timed_out:
                self._fail(failure)
                return
            delay_s = policy.after_crash(time.monotonic(), was_ready=self.was_ready)
            if delay_s is None:
                self._fail(Failure(f"{failure.message}, {CRASH_LIMIT} times in a row", failure.hint))
                return
            self.failure = failure
            self._restarts += 1
            self._say(f"{failure.message}; starting it again in {delay_s:g} s")
            self._become("restarting")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _serve(self, listener: socket.socket) -> int:
        """One process from its start to its end; returns its exit status."""
        self.was_ready = self._hung = False
        settings = self._around.settings_folder / f"{self.unit.name}.json"
        descriptor = listener.fileno()
        command = (self.unit.module, str(settings), "--fd", str(descriptor), "--parent", str(os.getpid()))
        poll = asyncio.create_task(self._watch())
        try:
            return await self._run_child(command, self.unit.environment, self._print, (descriptor,))
        finally:
            poll.cancel()

    async def _run_child(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        descriptors: Sequence[int] = (),
    ) -> int:
        try:
            self._child = await Child.start(
                python_command(*command),
                environment=child_environment(os.environ, environment),
                directory=self._around.working_directory,
                parent=self._around.parent,
                on_line=on_line,
                descriptors=descriptors,
            )
        except OSError as error:
            self._print(f"no process could be started: {os.strerror(error.errno or 0)}")
            return os.EX_OSERR
        if self._stopping.is_set():  # it came while the process was being made
            self._child.terminate()
        elif self._timed_out:  # so did the end of its time
            self._child.kill()
        self._changed()
        try:
            return await self._child.wait()
        finally:
            self._child = None

    async def _watch(self) -> None:
        """See a process become ready, and end it when it does not in time, or hangs after that."""
        try:
            async with asyncio.timeout(self.unit.start_timeout_s):
                await until_ready(self.address, self.unit.ready_path, self._advance)
        except TimeoutError:
            self._timed_out = True
        else:
            self._note_ready()
            await until_silent(self.address, self.unit.ready_path)
            self._hung = not self.stopping
        if self._child is not None and not self.stopping:
            self._child.kill()

    def _note_ready(self) -> None:
        if not self.stopping:
            self.was_ready = True
            self.failure = None
            self._progress = Progress()
            self._become("ready")
            self.settled.set()

    def _judge(self, status: int) -> Failure:
        if self._timed_out:
            return too_slow(self.unit)
        if self._hung:
            return Failure(f"{self.unit.name} answered nobody any more and was ended")
        return ended(self.unit.name, status, self._lines)

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self._progress = Progress()
        if not self._lines or self._lines[-1] != failure.message:  # or else it has said so itself
            self._say(failure.message)
        self._become("failed")

    def _advance(self, message: Mapping[str, Any]) -> None:
        progress = Progress.parse(message)
        if progress != self._progress:
            self._progress = progress
            self._changed()

    def _become(self, state: UnitState) -> None:
        if state != self.state:
            self.state = state
            self._changed()

    def _changed(self) -> None:
        self._around.on_change(self.snapshot())

    def _print(self, line: str) -> None:
        if line:
            self._lines.append(line)
        self._around.on_line(self.unit.name, line)

    def _say(self, sentence: str) -> None:
        """Our own word about the service, in its log."""
        self._around.on_line(self.unit.name, f"[model-compose] {sentence}")


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
