"""`up`: start everything that the file describes, show where it is, and keep it until somebody wants it stopped."""

import asyncio
import contextlib
import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builders.code import tool_version
from compose.commands.execute import plan_for, serving, socket_directory
from compose.commands.init import renew_schema
from compose.commands.stop import database_of, kept_sentence, volume_sentence
from compose.output import Console, columns, in_words
from compose.runtime import chosen_runtime
from compose.state import Selection, digests, memory_bytes, warn_of_changes
from infra import control
from infra.docker.engine import connect
from infra.docker.errors import EngineError
from infra.errors import ExitCode, UserError
from infra.net import get
from infra.sizes import megabytes
from infra.state import RunState, ServiceState, this_process
from infra.supervisor import Supervisor, stop_timeout_s

if TYPE_CHECKING:
    from compose.loader import Loaded
    from compose.plan import Plan
    from compose.spec import Runtime
    from infra.docker.engine import Engine
    from infra.docker.runtime import DockerRuntime

_SAMPLES: Final[dict[str, Any]] = {
    "integer": 1,
    "number": 1,
    "boolean": True,
    "json": ["Hello"],
    "list": ["Hello"],
    "object": {},
}
"""Inputs of these types in the `run` line to copy; every other type takes a text."""
_LEFT: Final = (
    "containers are left; `model-compose up --runtime docker` takes them over, `model-compose down` removes them"
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How `up` was asked for. leave_terminal: called with the exit code of the start by a run in the background."""

    runtime: str | None = None
    wait_timeout_s: float | None = None
    leave_terminal: Callable[[ExitCode], None] | None = None

    @property
    def detached(self) -> bool:
        return self.leave_terminal is not None


def up(selection: Selection, wishes: Wishes, console: Console) -> ExitCode:
    """Returns when a signal has ended it, or at once when nothing of it works."""
    try:
        return _up(selection, wishes, console)
    except KeyboardInterrupt:  # before there was anything to stop; ending it so is how one ends it
        folder = selection.run_folder
        if folder.containers.exists() and folder.running() is None:
            console.say(_LEFT)
        return ExitCode.INTERRUPTED if wishes.detached else ExitCode.OK


def _up(selection: Selection, wishes: Wishes, console: Console) -> ExitCode:
    loaded = selection.load(console)
    folder = selection.run_folder
    renew_schema(folder)
    if chosen_runtime(loaded, wishes.runtime) == "docker":
        return _up_in_containers(selection, loaded, wishes, console)
    if (running := folder.running()) is not None:
        warn_of_changes(running, console)
    with folder.hold() as cleared, socket_directory() as sockets:
        if cleared:
            console.say("the last run was killed; what it left is cleared away")
        if folder.containers.exists():
            _remove_containers(selection, console)
        try:
            plan = plan_for(loaded, folder, sockets, console)
            console.say(str(plan))
            state = _run_state(selection, loaded, plan, sockets, "process")
            code, _ = asyncio.run(_keep_up(selection, plan, contextlib.nullcontext(), state, wishes, console))
            router = next(unit for unit in plan.units if unit.kind == "router")
            console.say(f"stopped{kept_sentence(database_of(router.settings))}")
            return code
        finally:
            folder.remove_state()


def _remove_containers(selection: Selection, console: Console) -> None:
    """Processes need no engine, so one that does not answer is only a reason to warn."""
    from compose.commands.container_run import remove_containers

    try:
        remove_containers(selection.directory, selection.run_folder, console)
    except EngineError as error:
        console.warn(f"containers of an earlier run may still be there: {error.message}")


def _engine() -> "Engine":
    """Raises EngineError, which names the other way to run."""
    try:
        return connect()
    except EngineError as error:
        raise EngineError(error.message, f"{error.hint}, or use `--runtime process`") from None


def _up_in_containers(selection: Selection, loaded: "Loaded", wishes: Wishes, console: Console) -> ExitCode:
    """Takes over what runs already, and changes of it only what the file has in another form."""
    from compose.commands.container_run import container_runtime, images_of, plan_containers, require_room, take_over

    folder = selection.run_folder
    if (running := folder.running()) is not None and running.runtime != "docker":
        raise folder.already_running()
    with contextlib.closing(_engine()) as engine:
        images = images_of(loaded, engine, console)
        require_room(plan_containers(loaded, images, engine)[1])
        if (running := folder.running()) is not None and running.runtime == "docker":
            take_over(running)
        with folder.hold() as cleared, socket_directory() as sockets:
            if cleared:
                console.say("the last run was killed; its containers are taken over")
            try:
                plan, run = plan_containers(loaded, images, engine)
                console.say(str(plan))
                state = _run_state(selection, loaded, plan, sockets, "docker")
                runtime = container_runtime(run, folder, console)
                code, released = asyncio.run(_keep_up(selection, plan, runtime, state, wishes, console))
                router = next(unit for unit in plan.units if unit.kind == "router")
                kept = volume_sentence(router.settings, run.project)
                console.say("another `up` has taken over" if released else f"stopped{kept}")
                if not released and folder.containers.exists():
                    console.warn(_LEFT)
                return code
            finally:
                folder.remove_state()


def _run_state(selection: Selection, loaded: "Loaded", plan: "Plan", sockets: Path, runtime: "Runtime") -> RunState:
    env_files = selection.env_files or (selection.directory / ".env",)
    return RunState(
        tool_version=tool_version(),
        supervisor=this_process(),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        spec_digest=plan.spec_digest,
        files=digests([*loaded.files, *env_files]),
        api_url=plan.api_url,
        page_url=plan.page_url,
        socket_directory=str(sockets),
        stop_timeout_s=stop_timeout_s(plan.units),
        runtime=runtime,
    )


async def _keep_up(
    selection: Selection,
    plan: "Plan",
    entered: AbstractAsyncContextManager["DockerRuntime | None"],
    state: RunState,
    wishes: Wishes,
    console: Console,
) -> tuple[ExitCode, bool]:
    """Also says whether another run has the services now. entered: the runtime, or None for that of processes."""
    folder = selection.run_folder
    sockets = Path(state.socket_directory)
    async with (
        entered as runtime,
        serving(plan, folder, console, runtime=runtime, state=state, show_logs=not wishes.detached) as supervisor,
        control.listening(sockets, supervisor.carry_out),
    ):
        code = await _until_stopped(supervisor, plan, selection, wishes, console)
    return code, supervisor.released


async def _until_stopped(
    supervisor: Supervisor, plan: "Plan", selection: Selection, wishes: Wishes, console: Console
) -> ExitCode:
    code = await _started(supervisor, wishes, console)
    stop = supervisor.stop_requests.orderly
    if stop.is_set():
        if not supervisor.released:
            console.say("stopping")
        return ExitCode.FAILED if wishes.detached else code
    if not _is_useful(supervisor) or (code == ExitCode.TIMEOUT and not wishes.detached):
        return code
    if code != ExitCode.TIMEOUT:
        await _show_table(supervisor, plan, selection, console)
    if wishes.leave_terminal is not None:
        wishes.leave_terminal(code)
    await stop.wait()
    if not supervisor.released:
        console.say("stopping; Ctrl-C again hurries")
    return supervisor.exit_code


async def _started(supervisor: Supervisor, wishes: Wishes, console: Console) -> ExitCode:
    """Wait until it is known how the start went, and say what went wrong."""
    try:
        async with asyncio.timeout(wishes.wait_timeout_s):
            await supervisor.settled()
    except TimeoutError:
        console.error(_late(supervisor, wishes))
        return ExitCode.TIMEOUT
    _show_failures(supervisor.snapshot(), console)
    return supervisor.exit_code


def _late(supervisor: Supervisor, wishes: Wishes) -> UserError:
    late = [service.name for service in supervisor.snapshot() if service.state not in ("ready", "failed")]
    return UserError(
        f"{in_words(late)} not ready within {wishes.wait_timeout_s:g} s",
        hint="it goes on in the background: `model-compose ps` shows how far it is, `model-compose down` stops it"
        if wishes.detached
        else "allow more time with --wait-timeout",
        exit_code=ExitCode.TIMEOUT,
    )


def _is_useful(supervisor: Supervisor) -> bool:
    """Whether anybody can be served: the router lives, and at least one task."""
    alive = {service.unit.kind for service in supervisor.services.values() if service.state != "failed"}
    return {"router", "task"} <= alive


def _show_failures(services: tuple[ServiceState, ...], console: Console) -> None:
    """Each failed service: why, what to do, and the end of its log."""
    for service in services:
        if service.state == "failed":
            message = service.last_error or "failed"
            named = message if message.startswith(service.name) else f"{service.name}: {message}"
            console.error(UserError(named, hint=service.hint, exit_code=ExitCode.FAILED))
            *earlier, last = service.last_lines or ("",)
            for line in [*earlier, *([last] if last not in ("", message) else [])]:
                console.say(f"  {line}")


async def _show_table(supervisor: Supervisor, plan: "Plan", selection: Selection, console: Console) -> None:
    addresses = {"router": plan.api_url, "page": plan.page_url or "-"}
    rows = [
        (service.name, service.state, megabytes(memory_bytes(service.process)), addresses.get(service.kind, "-"))
        for service in supervisor.snapshot()
    ]
    console.result(columns([("SERVICE", "STATE", "MEMORY", "ADDRESS"), *rows]))
    if not plan.elsewhere and (command := await _run_command(supervisor, selection)) is not None:
        console.result(f"\ntry it:\n  {command}")


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
    return shlex.join(["model-compose", *_file_options(selection), "run", *run_arguments(workflows)])


def run_arguments(workflows: list[dict[str, Any]]) -> list[str]:
    """What to write after `run` to try the first workflow: the inputs that it cannot do without, else the first one
    that the file leaves open."""
    import json

    workflow = workflows[0]
    inputs = workflow.get("input") or []
    asked = [field for field in inputs if field.get("default") is None]
    needed = [field for field in asked if field.get("required")] or asked[:1]
    values = {field["name"]: _sample(field) for field in needed}
    chosen = [workflow["workflow_id"]] if len(workflows) > 1 else []
    return [*chosen, *(["--input", json.dumps(values)] if values else [])]


def _sample(field: dict[str, Any]) -> Any:
    options = field.get("options")
    return options[0] if options else _SAMPLES.get(field["type"], "Hello")


def _file_options(selection: Selection) -> list[str]:
    return [part for file in selection.files for part in ("-f", str(file))]
