"""Carries out a plan: finds the models, runs the services and lets the terminal follow."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compose.output import Console, Narrator
from infra.errors import ExitCode, UserError
from infra.folder import RunFolder
from infra.net import make_socket_directory
from infra.processes import bind
from infra.runtime import Runtime
from infra.secrets import Redactor
from infra.sizes import size
from infra.state import RunState
from infra.supervisor import Supervisor, supervise

if TYPE_CHECKING:
    from builders.weights import Resolved
    from compose.loader import Loaded
    from compose.plan import Plan

REFRESH_INTERVAL_S = 0.5


def plan_for(loaded: "Loaded", folder: RunFolder, sockets: Path, console: Console) -> "Plan":
    """What has to be done for this file on this machine; raises UserError when its models cannot be had or kept."""
    from compose.models import find_all, observed
    from compose.plan import make_plan

    console.status("looking for the models")
    found = find_all(loaded)
    _check_needs(loaded, found, console)
    plan = make_plan(loaded, observed(found, folder.root.parent, sockets))
    console.redact = Redactor(loaded.env, *(unit.prepare_environment for unit in plan.units))
    console.status("")
    return plan


def _check_needs(loaded: "Loaded", found: Mapping[str, "Resolved"], console: Console) -> None:
    """Raises UserError for a disk that is too small for all models; of memory it only warns, which may yet come free.

    A GPU's memory is not looked up, which takes long; `model-compose plan` tells it.
    """
    from compose.machine import Machine, has_gpu
    from compose.models import learn
    from compose.needs import needs_of
    from services.engine.loading.machine import this_processor

    known = {component.name: learn(loaded, component, found[component.name]) for component in loaded.spec.models}
    for verdict in needs_of(loaded, known, Machine(this_processor())).verdicts:
        if verdict.service is not None or verdict.answer != "no":
            continue
        if verdict.what == "disk":
            raise UserError(
                f"the models {verdict.detail} do not fit on its disk: they need {size(verdict.needs_bytes)}, and"
                f" {size(verdict.available_bytes)} are free",
                hint="free some space, or let HF_HOME and XDG_CACHE_HOME name folders on a larger disk",
                exit_code=ExitCode.ENVIRONMENT,
            )
        if not has_gpu():
            console.warn(
                f"memory may run out: the services need {size(verdict.least_bytes)}, and"
                f" {size(verdict.available_bytes)} are available; `model-compose plan` tells more"
            )


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
    runtime: Runtime | None = None,
    state: RunState | None = None,
    show_logs: bool,
    show_steps: bool = True,
) -> AsyncIterator[Supervisor]:
    """The plan's services inside the block, with the terminal told about them. runtime: None is that of processes."""
    narrator = Narrator(console, [unit.name for unit in plan.units], show_logs, show_steps)
    runtime = runtime or bind(plan.units)
    async with supervise(plan.units, runtime, folder, narrator, redact=console.redact, state=state) as supervisor:
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
