"""Carries out a plan: reads the files, finds the models, runs the services and lets the terminal follow."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compose.output import Console, Narrator
from compose.state import Selection, observe
from infra.folder import RunFolder
from infra.net import make_socket_directory
from infra.secrets import Redactor
from infra.state import RunState
from infra.supervisor import Supervisor, bind, supervise

if TYPE_CHECKING:
    from compose.loader import Loaded
    from compose.plan import Plan

REFRESH_INTERVAL_S = 0.5


def load(selection: Selection, console: Console) -> "Loaded":
    """Read the files and pass on the warnings; from here on the file's secrets stay out of the terminal."""
    loaded = selection.load()
    console.redact = Redactor(loaded.env)
    for warning in loaded.warnings:
        console.warn(warning)
    return loaded


def plan_for(loaded: "Loaded", folder: RunFolder, sockets: Path, console: Console) -> "Plan":
    """What has to be done for this file on this machine."""
    from compose.plan import make_plan

    console.status("looking for the models")
    plan = make_plan(loaded, observe(loaded, folder.root.parent, sockets))
    console.redact = Redactor(loaded.env, *(unit.prepare_environment for unit in plan.units))
    console.status("")
    return plan


@contextlib.contextmanager
def socket_directory() -> Iterator[Path]:
    """A private folder with a short path for the tasks' sockets, gone after the block."""
    sockets = make_socket_directory()
    try:
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


@contextlib.asynccontextmanager
async def serving(
    plan: "Plan",
    folder: RunFolder,
    console: Console,
    *,
    state: RunState | None = None,
    show_logs: bool,
    show_steps: bool = True,
) -> AsyncIterator[Supervisor]:
    """The plan's services inside the block, with the terminal told about them."""
    narrator = Narrator(console, [unit.name for unit in plan.units], show_logs, show_steps)
    listeners = bind(plan.units)
    async with supervise(plan.units, listeners, folder, narrator, redact=console.redact, state=state) as supervisor:
        ticker = asyncio.create_task(_tick(narrator))
        try:
            yield supervisor
        finally:
            ticker.cancel()
            console.status("")


async def _tick(narrator: Narrator) -> None:
    while True:
        await asyncio.sleep(REFRESH_INTERVAL_S)
        narrator.refresh()
