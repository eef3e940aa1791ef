"""Carries out a plan: starts its services, tells when they are ready, keeps them until somebody wants them stopped."""

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.init import renew_schema
from compose.output import Console, Narrator, megabytes, table
from compose.state import Selection, digests, memory_bytes, observe, tool_version
from infra.errors import ExitCode, UserError
from infra.folder import RunFolder
from infra.net import get, make_socket_directory
from infra.secrets import Redactor
from infra.state import RunState, ServiceState, this_process
from infra.supervisor import Supervisor, bind, stop_timeout_s, supervise

if TYPE_CHECKING:
    from compose.loader import Loaded
    from compose.plan import Plan

REFRESH_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Wishes:
    """How `up` was asked for. leave_terminal: called with the exit code of the start by a run in the background."""

    wait_timeout_s: float | None = None
    leave_terminal: Callable[[ExitCode], None] | None = None

    @property
    def detached(self) -> bool:
        return self.leave_terminal is not None


def up(selection: Selection, wishes: Wishes, console: Console) -> ExitCode:
    """Start everything that the file describes and keep it running until a signal says otherwise."""
    loaded = load(selection, console)
    folder = selection.run_folder
    renew_schema(folder)
    with folder.hold(), socket_directory() as sockets:
        try:
            plan = plan_for(loaded, folder, sockets, console)
            console.say(str(plan))
            return asyncio.run(_keep_up(selection, loaded, plan, folder, sockets, wishes, console))
        finally:
            folder.remove_state()


def require_process_runtime(runtime: str | None) -> None:
    """Raises UserError when `--runtime` or MODEL_COMPOSE_RUNTIME asks for another one than processes."""
    asked = runtime or os.environ.get("MODEL_COMPOSE_RUNTIME") or "process"
    if asked != "process":
        raise UserError(
            f"runtime `{asked}` is not supported yet" if asked == "docker" else f"there is no runtime `{asked}`",
            hint="leave it out, or use `process`",
            exit_code=ExitCode.ENVIRONMENT,
        )


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
    sockets = make_socket_directory()
    try:
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


async def _keep_up(
    selection: Selection,
    loaded: "Loaded",
    plan: "Plan",
    folder: RunFolder,
    sockets: Path,
    wishes: Wishes,
    console: Console,
) -> ExitCode:
    state = RunState(
        tool_version=tool_version(),
        supervisor=this_process(),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        spec_digest=plan.spec_digest,
        files=digests([*loaded.files, *_env_files(selection)]),
        api_url=plan.api_url,
        page_url=plan.page_url,
        socket_directory=str(sockets),
        stop_timeout_s=stop_timeout_s(plan.units),
    )
    async with serving(plan, folder, console, state=state, show_logs=not wishes.detached) as supervisor:
        code = await _started(supervisor, wishes, console)
        stop = supervisor.stop_requests.orderly
        if stop.is_set():
            console.say("stopping")
            return ExitCode.FAILED if wishes.detached else code
        if not _is_useful(supervisor) or (code == ExitCode.TIMEOUT and not wishes.detached):
            return code
        if code != ExitCode.TIMEOUT:
            await _show_table(supervisor, plan, selection, console)
        if wishes.leave_terminal is not None:
            wishes.leave_terminal(code)
        await stop.wait()
        console.say("stopping; Ctrl-C again hurries")
        return exit_code(supervisor)


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


async def _started(supervisor: Supervisor, wishes: Wishes, console: Console) -> ExitCode:
    """Wait until it is known how the start went, and say what went wrong."""
    try:
        async with asyncio.timeout(wishes.wait_timeout_s):
            await supervisor.settled()
    except TimeoutError:
        console.error(_late(supervisor, wishes))
        return ExitCode.TIMEOUT
    show_failures(supervisor.snapshot(), console)
    return exit_code(supervisor)


def _late(supervisor: Supervisor, wishes: Wishes) -> UserError:
    late = [service.name for service in supervisor.snapshot() if service.state not in ("ready", "failed")]
    return UserError(
        f"{' and '.join(late)} not ready within {wishes.wait_timeout_s:g} s",
        hint="it goes on in the background: `model-compose ps` shows how far it is, `model-compose down` stops it"
        if wishes.detached
        else "allow more time with --wait-timeout",
        exit_code=ExitCode.TIMEOUT,
    )


def exit_code(supervisor: Supervisor) -> ExitCode:
    """OK unless a service failed; then what the first failure asks for."""
    failures = [service.failure for service in supervisor.services.values() if service.state == "failed"]
    return next((failure.exit_code for failure in failures if failure is not None), ExitCode.OK)


def _is_useful(supervisor: Supervisor) -> bool:
    """Whether anybody can be served: the router lives, and at least one task."""
    alive = {service.unit.kind for service in supervisor.services.values() if service.state != "failed"}
    return {"router", "task"} <= alive


def show_failures(services: tuple[ServiceState, ...], console: Console) -> None:
    """Each failed service: why, what to do, and the end of its log."""
    for service in services:
        if service.state == "failed":
            message = service.last_error or "failed"
            named = message if message.startswith(service.name) else f"{service.name}: {message}"
            console.error(UserError(named, hint=service.hint, exit_code=ExitCode.FAILED))
            for line in service.last_lines:
                console.say(f"  {line}")


async def _show_table(supervisor: Supervisor, plan: "Plan", selection: Selection, console: Console) -> None:
    addresses = {"router": plan.api_url, "page": plan.page_url or ""}
    rows = [
        (
            service.name,
            service.state,
            addresses.get(service.kind, service.address),
            megabytes(memory_bytes(service.process)),
        )
        for service in supervisor.snapshot()
    ]
    console.result(table(("SERVICE", "STATE", "ADDRESS", "MEMORY"), rows))
    if (command := await _run_command(supervisor, selection)) is not None:
        console.result(f"\n{command}")


async def _run_command(supervisor: Supervisor, selection: Selection) -> str | None:
    """A `run` line to copy, with an input that the first workflow really has; None when the router does not say."""
    import json

    router = next(service for service in supervisor.services.values() if service.unit.kind == "router")
    settings = json.loads(router.unit.settings)
    headers = (f"Authorization: Bearer {settings['auth_token']}",) if settings.get("auth_token") else ()
    try:
        async with asyncio.timeout(2):
            path = f"{settings['base_path']}/workflows?include_schema=true"
            answer = await get(router.address, path, headers=headers)
    except (OSError, ValueError):
        return None
    workflows = answer.body.get("workflows") if isinstance(answer.body, dict) else answer.body
    if not workflows:
        return None
    return shlex.join(["model-compose", *_file_options(selection), "run", *_run_arguments(workflows)])


def _run_arguments(workflows: list[dict[str, Any]]) -> list[str]:
    import json

    workflow = workflows[0]
    inputs = workflow.get("input") or []
    name = next((field["name"] for field in inputs if field.get("required")), inputs[0]["name"] if inputs else None)
    chosen = [workflow["workflow_id"]] if len(workflows) > 1 else []
    return [*chosen, *(["--input", json.dumps({name: "Hello"})] if name else [])]


def _file_options(selection: Selection) -> list[str]:
    return [part for file in selection.files for part in ("-f", str(file))]


def _env_files(selection: Selection) -> list[Path]:
    return list(selection.env_files) or [selection.directory / ".env"]
