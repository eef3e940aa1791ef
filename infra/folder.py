"""Where one run keeps its files, and the lock that makes it the only one there."""

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from infra.errors import ExitCode, UserError
from infra.files import not_writable, open_private
from infra.state import RunState


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The layout of `.model-compose/`."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def stages(self) -> Path:
        return self.root / "stages.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def settings(self) -> Path:
        return self.root / "settings"

    @property
    def empty(self) -> Path:
        """Where the services are started."""
        return self.root / "empty"

    def make(self) -> None:
        """Make the folder, private and invisible to git."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / ".gitignore").write_text("*\n", encoding="ascii")
        except OSError as error:
            raise not_writable(self.root, error) from None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only run of this folder, after clearing away what a run that was killed has left.

        The system releases the lock when its holder ends, however it ends; so a lock that is held is the truth.
        """
        self.make()
        with self._open_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._already_running() from None
            self._clear(RunState.read(self.state))
            yield

    def _open_lock(self) -> BinaryIO:
        try:
            return open_private(self.lock, append=True)
        except OSError as error:
            raise not_writable(self.lock, error) from None

    def running(self) -> RunState | None:
        """The state of the live run, or None; raises UserError when another version wrote it."""
        state = RunState.read(self.state)
        return state if state is not None and state.supervisor.is_alive() else None

    def clear_stale(self) -> bool:
        """Remove what a dead run left: its processes, sockets and state. Says whether there was anything."""
        state = RunState.read(self.state)
        if state is None or state.supervisor.is_alive():
            return False
        self._clear(state)
        return True

    def _clear(self, state: RunState | None) -> None:
        if state is None:
            return
        for service in state.services:
            if service.process is not None and service.process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(service.process.pid, signal.SIGKILL)
        shutil.rmtree(state.socket_directory, ignore_errors=True)
        self.remove_state()

    def remove_state(self) -> None:
        """Say that nothing runs here."""
        for path in (self.state, self.stages):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.settings, ignore_errors=True)

    def _already_running(self) -> UserError:
        try:
            state = self.running()
        except UserError:
            state = None
        since = f" since {_moment(state.started_at)} (process {state.supervisor.pid})" if state else ""
        return UserError(
            f"{self.root.parent} is already running{since}",
            hint="`model-compose ps` shows it, `model-compose down` stops it",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _moment(iso: str) -> str:
    then = datetime.fromisoformat(iso)
    today = then.date() == datetime.now(then.tzinfo).date()
    return f"{then:%H:%M}" if today else f"{then:%Y-%m-%d %H:%M}"
