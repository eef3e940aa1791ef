"""One child process: how it starts, where its output goes, and how it and all it started are ended."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.failure import Killer
from infra.logs import LineSplitter
from infra.secrets import without_secrets
from infra.state import ProcessId

PARENT_FD = "MODEL_COMPOSE_PARENT_FD"
"""Tells a child the descriptor of a pipe that ends when we end; `services.process` reads it."""

_LAST_OUTPUT_S = 0.5
"""How long output is read after a child has ended: something that it started may hold the pipe open."""

_OURS = {
    "BENTOML_DO_NOT_TRACK": "True",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
}


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def python_command(module: str, *arguments: str) -> list[str]:
    """Our own interpreter running a module of ours; -P keeps the working directory out of the import path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """What a child sees: no secret, no telemetry, and nothing that changes where Python finds modules."""
    inherited = {name: value for name, value in without_secrets(environ).items() if not name.startswith("PYTHON")}
    return {**inherited, **_OURS, **extra}


class ParentPipe:
    """A pipe whose writing end only we hold, so that its end of file tells every child that we are gone."""

    def __init__(self) -> None:
        self.reading_end, self._writing_end = os.pipe()

    def close(self) -> None:
        os.close(self.reading_end)
        os.close(self._writing_end)


class Child:
    """A running process in a process group of its own. Start it from the main thread.

    Linux tells a child of its parent's death when the thread that started it ends.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self._process = process
        self._output = output
        self.id = ProcessId.of(process.pid)
        self.terminated = False
        """Whether we asked it to end."""
        self.killer: Killer = "system"
        """Nobody tells, and others seldom kill."""

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        parent: ParentPipe,
        on_line: Callable[[str], None],
        descriptors: Sequence[int] = (),
    ) -> "Child":
        """Run `command` with nothing on its standard input; each line of its output goes to `on_line`.

        Raises OSError when the system starts no process.
        """
        reading_end, writing_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing_end,
                stderr=writing_end,
                env={**environment, PARENT_FD: str(parent.reading_end)},
                cwd=directory,
                pass_fds=(parent.reading_end, *descriptors),
                process_group=0,
                preexec_fn=end_with(os.getpid()) if sys.platform == "linux" else None,
            )
        except BaseException:
            os.close(reading_end)
            raise
        finally:
            os.close(writing_end)
        return cls(process, asyncio.create_task(_read_lines(reading_end, on_line)))

    async def wait(self) -> int:
        """The exit status (negative: the signal), once its output is read and its group is gone."""
        status = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        await asyncio.wait({self._output}, timeout=_LAST_OUTPUT_S)
        self._output.cancel()
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        self.terminated = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self.terminated = True
        if self._process.returncode is None:
            self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class Children:
    """Starts children that share a folder to work in and end with us."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parent = ParentPipe()

    async def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        descriptors: Sequence[int] = (),
    ) -> Child:
        """`environment` comes beside what every child sees of ours. Raises OSError when the system starts none."""
        return await Child.start(
            command,
            environment=child_environment(os.environ, environment),
            directory=self._directory,
            parent=self._parent,
            on_line=on_line,
            descriptors=descriptors,
        )

    def close(self) -> None:
        """The children that still live end with this."""
        self._parent.close()


def end_with(parent: int) -> Callable[[], None]:
    """For a child on Linux that has not begun yet, as its `preexec_fn`: end with its parent from the first moment on.

    parent: its process id. The system takes the end of the thread that started the child for that of the parent.
    Children tie themselves to us too, but only once their interpreter is up, which takes seconds on a busy machine.
    Between fork and exec nothing may need a lock that another thread held, so all is looked up before.
    """
    prctl, getppid, leave, kill_signal = _libc.prctl, os.getppid, os._exit, int(signal.SIGKILL)

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, kill_signal, 0, 0, 0)
        if getppid() != parent:  # it ended before the line above took effect
            leave(1)

    return tie


async def _read_lines(descriptor: int, on_line: Callable[[str], None]) -> None:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    splitter = LineSplitter()
    try:
        while data := await reader.read(65_536):
            for line in splitter.feed(data):
                on_line(line)
    finally:
        for line in splitter.close():
            on_line(line)
        transport.close()
