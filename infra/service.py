"""The life of one unit: prepared, started, watched until it is ready, started again when it ends, stopped when told."""

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra import net
from infra.errors import ExitCode, PassingError, UserError
from infra.failure import HOPELESS, Failure, Killer, ended, ending, too_slow
from infra.folder import RunFolder
from infra.process import Children, python_command
from infra.restart import CRASH_LIMIT, PATIENCE_S, RestartPolicy
from infra.runtime import Place, Running, Runtime
from infra.state import ServiceState
from infra.unit import Unit, UnitState

LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the services of one run share.

    children: starts processes on this machine. on_line: (service, line of its output). on_change: a service in a new
    state.
    """

    folder: RunFolder
    runtime: Runtime
    children: Children
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
    """Runs `unit` in `place`; None: it asks the runtime for one.

    settled: set once it is ready, failed or stopped for the first time. ended: set when nothing more will happen.
    was_ready: whether the life that runs has ever been ready, and so may have requests to finish; one that was taken
    over is taken for such a one.
    """

    def __init__(self, unit: Unit, place: Place | None, around: Surroundings) -> None:
        self.unit = unit
        self.address = place.address if place else unit.address
        self.state: UnitState = "waiting"
        self.failure: Failure | None = None
        self.was_ready = False
        self.settled = asyncio.Event()
        self.ended = asyncio.Event()
        self._place = place
        self._around = around
        self._prepared = False
        self._stopping = asyncio.Event()
        self._killed = False
        self._ever_ready = False
        self._timed_out = False
        self._hung = False
        self._refusal: Failure | None = None
        self._running: Running | None = None
        self._killer: Killer = "anybody"
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
            process=self._running.id if self._running else None,
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
            if self._place is None:
                self._place = self._around.runtime.place(self.unit, self._around)
            if self.unit.prepare is None or await self._prepare(self.unit.prepare):
                self._prepared = True
                await self._keep_serving(self._place)
        except UserError as error:
            self._fail(Failure(error.message, error.hint, error.exit_code))
        finally:
            if self._place is not None:
                self._place.close()
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
        if self._running is not None:
            self._running.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once; one that is being made, as soon as it is there."""
        self._stopping.set()
        self._killed = True
        if self._running is not None:
            self._running.kill()

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

        command_line, environment = python_command(*command), self.unit.prepare_environment
        status = await self._live(lambda: self._around.children.start(command_line, environment, read))
        if status != 0 and not self._stopping.is_set():
            message = error.get("message") or f"{self.unit.name} could not be prepared: {ending(status)}"
            code = ExitCode(status) if status in (ExitCode.FILE, ExitCode.ENVIRONMENT) else ExitCode.FAILED
            self._fail(Failure(message, error.get("hint"), code))
        return status == 0

    async def _keep_serving(self, place: Place) -> None:
        policy = RestartPolicy()
        while not self._stopping.is_set():
            self._become("restarting" if self._restarts else "starting")
            status = await self._serve(place)
            if self._stopping.is_set():
                return
            failure = self._judge(status)
            if status in HOPELESS or (self._timed_out and not self._ever_ready):
                self._fail(failure)
                return
            delay_s = self._delay_s(policy, failure)
            if delay_s is None:
                return
            self.failure = failure
            self.state = "restarting" if self._restarts else "starting"
            self._changed()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _delay_s(self, policy: RestartPolicy, failure: Failure) -> float | None:
        """How long to wait before the next start, and says so; None once it has failed for good."""
        now = time.monotonic()
        if self._refusal is not None:
            delay_s, lasting = policy.after_refusal(now), f"for {PATIENCE_S:g} s"
            remedy = f"{self.unit.name} is started once that is over"
        else:
            delay_s, lasting = policy.after_crash(now, was_ready=self.was_ready), f"{CRASH_LIMIT} times in a row"
            remedy = f"starting it again in {delay_s:g} s" if delay_s else ""
        if delay_s is None:
            self._fail(replace(failure, message=f"{failure.message}, {lasting}"))
            return None
        if self._refusal is None:
            self._restarts += 1
        if self._refusal is None or failure != self.failure:
            self._say(f"{failure.message}; {remedy}")
        return delay_s

    async def _serve(self, place: Place) -> int:
        """One life from its start to its end; returns its exit status."""
        self.was_ready = place.taken_over
        self._hung = self._timed_out = False
        self._refusal = None
        poll = asyncio.create_task(self._watch(place))
        try:
            return await self._live(lambda: place.start(self._print))
        finally:
            poll.cancel()

    async def _live(self, start: Callable[[], Awaitable[Running]]) -> int:
        try:
            self._running = await start()
        except OSError as error:
            self._print(f"it could not be started: {os.strerror(error.errno or 0)}")
            return os.EX_OSERR
        except PassingError as error:
            self._refusal = Failure(error.message, error.hint, error.exit_code)
            return os.EX_OSERR
        if self._killed or (self._timed_out and not self.stopping):  # it came while the process was being made
            self._running.kill()
        elif self.stopping:  # so did this
            self._running.terminate()
        self._changed()
        try:
            status = await self._running.wait()
            self._killer = self._running.killer
            return status
        finally:
            self._running = None

    async def _watch(self, place: Place) -> None:
        """See a life become ready, and end it when it does not in time, or hangs after that."""
        try:
            async with asyncio.timeout(self.unit.start_timeout_s):
                await place.until_ready(self._advance)
        except TimeoutError:
            self._timed_out = True
        else:
            self._note_ready()
            await place.until_silent()
            self._hung = not self.stopping
        if self._running is not None and not self.stopping:
            self._running.kill()

    def _note_ready(self) -> None:
        if not self.stopping:
            self.was_ready = self._ever_ready = True
            self.failure = None
            self._progress = Progress()
            self._become("ready")
            self.settled.set()

    def _judge(self, status: int) -> Failure:
        if self._refusal is not None:
            return self._refusal
        if self._timed_out:
            return too_slow(self.unit)
        if self._hung:
            return Failure(f"{self.unit.name} answered nobody any more and was ended")
        return ended(self.unit, status, self._lines, self._killer)

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
