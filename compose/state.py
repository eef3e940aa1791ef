"""What is there already: the folder of a project, what runs in it, and which files it came from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compose.output import Console, shown_path
from infra.errors import ExitCode, UserError
from infra.folder import RunFolder
from infra.state import ProcessId, RunState

if TYPE_CHECKING:
    from compose.loader import Loaded

FOLDER_NAME = ".model-compose"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files and values the command line names; without files, the folder's own is found."""

    files: tuple[Path, ...] = ()
    env_files: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The project's folder: that of the first file, or the working directory."""
        return self.files[0].parent.absolute() if self.files else Path.cwd()

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder(self.directory / FOLDER_NAME)

    def load(self, console: Console, *, for_cluster: bool = False) -> "Loaded":
        """Read the files and pass on the warnings; from here on the file's secrets stay out of the terminal.

        for_cluster: without those that say what is for clusters alone. Raises UserError with all problems at once.
        """
        from compose.checks.resources import ONCE_EACH
        from compose.loader import load_spec
        from infra.secrets import Redactor

        loaded = load_spec(self.files or None, env_files=self.env_files or None, env=self.env, directory=self.directory)
        console.redact = Redactor(loaded.env)
        for warning in loaded.warnings:
            if not (for_cluster and ONCE_EACH in warning):
                console.warn(warning)
        return loaded

    def running(self) -> RunState | None:
        """What runs in this folder, once the remains of a run that was killed are cleared away."""
        folder = self.run_folder
        folder.clear_stale()
        return folder.running()

    def require_running(self) -> RunState:
        """Raises UserError when nothing runs here."""
        killed = self.run_folder.clear_stale()
        state = self.running()
        if state is None and self.run_folder.containers.exists():
            raise UserError(
                f"nobody looks after the containers of {self.directory}, since the last run was killed",
                hint="`model-compose up` takes them over, `model-compose down` removes them",
                exit_code=ExitCode.NOT_RUNNING,
            )
        if state is None:
            raise UserError(
                f"nothing is running in {self.directory}{', since the last run was killed' if killed else ''}",
                hint="`model-compose up` starts what the file describes",
                exit_code=ExitCode.NOT_RUNNING,
            )
        return state


def digests(files: Sequence[Path]) -> dict[str, str]:
    """The sha256 of each file by its absolute path; files that are gone are left out."""
    return {str(path.absolute()): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def changed_files(state: RunState) -> list[str]:
    """The files that are not as they were when the run read them."""
    now = digests([Path(path) for path in state.files])
    return [path for path, digest in state.files.items() if now.get(path) != digest]


def warn_of_changes(state: RunState, console: Console) -> None:
    """Say which files the run has read in another form than they have now."""
    for path in changed_files(state):
        console.warn(f"{shown_path(path)} changed, not applied; `model-compose down` and `model-compose up` apply it")


def known_service(name: str, known: Sequence[str]) -> str:
    """The name itself; raises UserError when no service bears it."""
    if name in known:
        return name
    from services.router.names import closest

    meant = closest(name, known)
    doubt = f"did you mean `{meant}`? " if meant else ""
    raise UserError(
        f"there is no service `{name}`", hint=f"{doubt}there are {', '.join(known)}", exit_code=ExitCode.USAGE
    )


def memory_bytes(process: ProcessId | None) -> int | None:
    """Resident memory of a process and all it started; None when it is gone."""
    import psutil

    if process is None or not process.is_alive():
        return None
    try:
        leader = psutil.Process(process.pid)
        family = [leader, *leader.children(recursive=True)]
        return sum(int(member.memory_info().rss) for member in family)
    except psutil.Error:
        return None
