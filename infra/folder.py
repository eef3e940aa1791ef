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
from infra.state import ForeignStateError, RunState


class AlreadyRunningError(UserError):
    """Somebody else is the only run of a folder."""


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
    def containers(self) -> Path:
        """There while an engine may have containers of the project, however its run ended."""
        return self.root / "containers"

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
    def hold(self) -> Iterator[bool]:
        """Be the only run of this folder; tells whether a run that was killed had left something, now cleared away.

        The system releases the lock when its holder ends, however it ends; so a lock that is held is the truth.
        Raises AlreadyRunningError.
        """
        self.make()
        with self._open_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self.already_running() from None
            yield self._clear_remains(locked=True)

    def _open_lock(self) -> BinaryIO:
        try:
            return open_private(self.lock, append=True)
        except OSError as error:
            raise not_writable(self.lock, error) from None

    def running(self) -> RunState | None:
        """The state of the live run, or None; raises UserError when another version wrote it and its run is alive."""
        try:
            state = RunState.read(self.state)
        except ForeignStateError as error:
            if self._has_ended(error):
                return None
            raise
        return state if state is not None and state.supervisor.is_alive() else None

    def clear_stale(self) -> bool:
        """Remove what a dead run left: its processes, sockets and state. Says whether there was anything.

        Containers are no part of it: they go on without the run that started them.
        """
        return self._clear_remains(locked=False)

    def _clear_remains(self, *, locked: bool) -> bool:
        try:
            state = RunState.read(self.state)
        except ForeignStateError as error:
            if not self._has_ended(error, locked=locked):
                raise
            self.remove_state()
            return True
        if state is None or (state.supervisor.is_alive() and not locked):
            return False
        for service in state.services if state.runtime == "process" else ():
            if service.process is not None and service.process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(service.process.pid, signal.SIGKILL)
        shutil.rmtree(state.socket_directory, ignore_errors=True)
        self.remove_state()
        return True

    def _has_ended(self, foreign: ForeignStateError, *, locked: bool = False) -> bool:
        """Whether nothing lives of a run of another version. locked: the lock is ours, so its supervisor is gone."""
        return not foreign.alive and (locked or not self.is_held())

    def is_held(self) -> bool:
        """Whether there is a run in this folder, if only one that is about to start or has just ended."""
        try:
            with self.lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def remove_state(self) -> None:
        """Say that nothing runs here."""
        for path in (self.state, self.stages):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.settings, ignore_errors=True)

    def already_running(self) -> AlreadyRunningError:
        """What to say where nobody else may run."""
        try:
            state = self.running()
        except UserError:
            state = None
        if state is None:
            return AlreadyRunningError(
                f"another `up` or `down` is at work in {self.root.parent}",
                hint="try again once it is done; `model-compose ps` shows what runs then",
                exit_code=ExitCode.ENVIRONMENT,
            )
        return AlreadyRunningError(
            f"{self.root.parent} is already running since {_moment(state.started_at)} (process {state.supervisor.pid})",
            hint="`model-compose ps` shows it, `model-compose down` stops it",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _moment(iso: str) -> str:
    then = datetime.fromisoformat(iso)
    today = then.date() == datetime.now(then.tzinfo).date()
    return f"{then:%H:%M}" if today else f"{then:%Y-%m-%d %H:%M}"


def project_of(place: Path) -> Path | None:
    """The folder of the project whose services are started in `place`; None when that is no such folder."""
    folder = RunFolder(place.parent)
    return folder.root.parent if place == folder.empty and folder.state.exists() else None
