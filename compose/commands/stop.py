"""`down`: end the run of a folder, and come back when it is true."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from compose.output import Console, count, in_words
from compose.state import Selection
from infra.errors import ExitCode, UserError
from infra.folder import AlreadyRunningError, RunFolder
from infra.state import ProcessId, RunState

POLL_INTERVAL_S = 0.05
MARGIN_S = 10.0
"""How much longer than its services a supervisor may take before it is killed."""
KILLED_S = 5.0
STARTING_S = 60.0
"""How long `down` waits for an `up` that makes room or looks for models, and cannot be stopped in order yet."""


def down(selection: Selection, console: Console) -> None:
    """Stop what runs in the folder; nothing running is what was wished for."""
    folder = selection.run_folder
    cleared = folder.clear_stale()
    while (state := _started(folder, console)) is None:
        services = _remove_containers(selection, console)
        if services is None:
            continue
        if services:
            console.result(f"removed the containers of {in_words(services)}, which a killed run had left")
            return
        remains = ", but a killed run had left files; they are cleared away" if cleared else ""
        console.result(f"nothing is running in {selection.directory}{remains}")
        return
    kept = _kept_by(state, folder)
    began = time.monotonic()
    names = in_words([service.name for service in state.services])
    console.status(f"stopping {names}")
    clean = _end(state)
    console.status("")
    folder.clear_stale()
    _remove_containers(selection, console)
    seconds = f"{time.monotonic() - began:.1f} s"
    told = f"stopped {names} in {seconds}" if clean else f"killed {names}, which did not end within {seconds}"
    console.result(told + kept())


def _started(folder: RunFolder, console: Console) -> RunState | None:
    """The run of a folder; one that is about to start can be stopped once it has begun."""
    deadline = time.monotonic() + STARTING_S
    while (state := folder.running()) is None and folder.is_held():
        console.status("waiting for the start of what is to be stopped")
        if time.monotonic() > deadline:
            raise folder.already_running()
        time.sleep(POLL_INTERVAL_S)
    return state


def _remove_containers(selection: Selection, console: Console) -> tuple[str, ...] | None:
    """What is left in an engine by a run that had no time to; returns the services, None when a run has taken over."""
    folder = selection.run_folder
    if not folder.containers.exists():
        return ()
    from compose.commands.container_run import remove_containers

    try:
        with folder.hold():
            console.status("removing containers")
            services = remove_containers(selection.directory, folder, console)
    except AlreadyRunningError:
        return None
    console.status("")
    return services


def _kept_by(state: RunState, folder: RunFolder) -> Callable[[], str]:
    """Tells, once it has ended, what a run that runs now has kept."""
    try:
        settings = (folder.settings / "router.json").read_text(encoding="utf-8")
        project = folder.containers.read_text(encoding="ascii").strip() if state.runtime == "docker" else None
    except OSError:
        return lambda: ""
    return lambda: volume_sentence(settings, project) if project else kept_sentence(database_of(settings))


def volume_sentence(router_settings: str, project: str) -> str:
    """What the end of a sentence says of runs that a router in a container kept, which cannot be counted from here."""
    from compose.containers import RUNS_VOLUME
    from infra.docker.container import volume_name

    if database_of(router_settings) is None:
        return ""
    return f"; its runs stay in the volume {volume_name(project, RUNS_VOLUME)}"


def database_of(router_settings: str) -> Path | None:
    """Where a router with these settings keeps accepted runs, when that is a file."""
    try:
        return Path(json.loads(router_settings)["database"]["path"])
    except (ValueError, KeyError, TypeError):
        return None


def kept_sentence(database: Path | None) -> str:
    """What the end of a sentence says of accepted runs that go on when the router starts again."""
    from services.router.store.kept import kept_runs

    runs = kept_runs(database) if database else 0
    return f"; {count(runs, 'accepted run')} {'goes' if runs == 1 else 'go'} on with the next `up`" if runs else ""


def _end(state: RunState) -> bool:
    """Ask the supervisor to end, then make it; its services end with it. Says whether asking was enough."""
    for number, patience_s in ((signal.SIGTERM, state.stop_timeout_s + MARGIN_S), (signal.SIGKILL, KILLED_S)):
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.supervisor.pid, number)
        except PermissionError:
            raise UserError(
                f"process {state.supervisor.pid} belongs to somebody else",
                hint="stop it as the user who started it",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None
        if _wait_for(state.supervisor, patience_s):
            return number == signal.SIGTERM
    raise UserError(f"process {state.supervisor.pid} cannot be killed", exit_code=ExitCode.ENVIRONMENT)


def _wait_for(process: ProcessId, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while process.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True
