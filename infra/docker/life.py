"""One container while it runs: its output line by line, its end, and the signals that it gets."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from infra.docker.engine import Engine, State
from infra.docker.errors import EngineError
from infra.docker.reading import Reading
from infra.failure import HOPELESS, Killer
from infra.logs import LineSplitter
from infra.runtime import OnLine
from infra.state import ProcessId

T = TypeVar("T")

_RETRY_S: Final = 1.0
"""How often an engine that does not answer is asked again."""
_KILL_S: Final = 5.0
"""How long an engine may take to kill a container. Then nobody waits any more: the next life removes it, or the end of
the run tells that it is left."""
_SETTLE_S: Final = 0.05
"""Between the end of a container's output and its own."""
_BY_SIGNAL: Final = 128
"""Exit statuses above it tell of a signal, as a shell has it."""


class ContainerLife:
    """Follows a container that runs.

    process: its first one, where that is one of this machine. reading: of its output; it is closed at the end.
    killer: see `Running`.
    """

    def __init__(
        self, engine: Engine, container: str, process: ProcessId | None, on_line: OnLine, reading: Reading
    ) -> None:
        self.id = process
        self.killer: Killer = "anybody"
        self._container = container
        self._engine = engine
        self._on_line = on_line
        self._reading = reading
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._killed = threading.Event()
        threading.Thread(target=self._follow, name=f"container-{container[:12]}", daemon=True).start()

    async def wait(self) -> int:
        """The exit status (negative: the signal), once its output is read; the container is removed.

        Of one that was killed while the engine does not answer, soon.
        """
        return await asyncio.shield(self._status)

    def terminate(self) -> None:
        self._signal("SIGTERM")

    def kill(self) -> None:
        self._killed.set()
        self._signal("SIGKILL")
        self._loop.call_later(_KILL_S, self._end, -signal.SIGKILL)

    def _signal(self, name: str) -> None:
        threading.Thread(target=self._send, args=(name,), name=f"signal-{self._container[:12]}", daemon=True).start()

    def _send(self, name: str) -> None:
        try:
            self._engine.signal(self._container, name)
        except EngineError as error:
            self._tell([f"[model-compose] {error.message}"])

    def _follow(self) -> None:
        """In a thread of its own, because the engine's answers block."""
        status = self._follow_to_end()
        with contextlib.suppress(EngineError):  # the next life removes it, or the end of the run tells that it is left
            self._engine.remove(self._container)
        self._reading.close()
        self._call(self._end, status)

    def _follow_to_end(self) -> int:
        """An engine that does not answer is asked again: its containers mostly go on without it."""
        away = False
        while True:
            heard = self._hear()
            try:
                state = self._engine.state(self._container)
            except EngineError as error:
                heard = False
                if not away:
                    self._tell([f"[model-compose] {error.message}; it is asked again until it answers"])
                away = True
            else:
                away = False
                if state is None:
                    self.killer = "remover"
                    return -signal.SIGKILL
                if not state.running:
                    self.killer = "system" if state.out_of_memory else "anybody"
                    return exit_status(state)
            if heard:
                time.sleep(_SETTLE_S)
            elif self._killed.wait(_RETRY_S):
                return -signal.SIGKILL

    def _hear(self) -> bool:
        """Pass the output on until it ends; says whether it could be read. A line that breaks off is not told."""
        splitter = LineSplitter()
        self._reading.begin()
        try:
            for piece in self._engine.output(self._container, self._reading.since_s, stamped=True):
                self._tell(splitter.feed(self._reading.feed(piece)))
        except EngineError:
            return False
        self._reading.end()
        self._tell(splitter.close())
        return True

    def _tell(self, lines: list[str]) -> None:
        """Comes back once they are taken, so that a flood waits in the engine and not in our memory."""
        taken = threading.Event()

        def take(lines: list[str]) -> None:
            if not self._status.done():  # or else another life may be heard by now
                for line in lines:
                    self._on_line(line)
                self._reading.save()
            taken.set()

        if lines:
            self._call(take, lines)
            while not taken.wait(_RETRY_S) and not self._loop.is_closed():
                pass

    def _end(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def _call(self, what: Callable[[T], None], argument: T) -> None:
        with contextlib.suppress(RuntimeError):  # nobody waits for this container any more
            self._loop.call_soon_threadsafe(what, argument)


def exit_status(state: State) -> int:
    """As of a child process: negative when a signal ended it.

    Where memory ran out, the engine does not say for which process: one that ends by itself with an error may well have
    lost a helper, unless it has a status that says why.
    """
    number = state.exit_code - _BY_SIGNAL
    status = -number if number in signal.valid_signals() else state.exit_code
    return -signal.SIGKILL if state.out_of_memory and status > 0 and status not in HOPELESS else status


def local_process(engine: Engine, container: str) -> ProcessId | None:
    """The container's first process, where it is one of this machine."""
    state = engine.state(container)
    if not engine.is_local or state is None or not state.pid:
        return None
    try:
        groups = Path(f"/proc/{state.pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    return ProcessId.of(state.pid) if container in groups else None
