"""`run`: one run of a workflow, by the server of this folder or by one that lives as long as the run."""

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import tempfile
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.commands import execute
from compose.output import Console, clause, shown_path
from compose.state import FOLDER_NAME, Selection, changed_files
from infra.errors import ExitCode, UserError
from infra.files import not_writable
from infra.folder import RunFolder
from infra.net import address_text
from infra.state import RunState

if TYPE_CHECKING:
    from compose.loader import Loaded
    from compose.plan import Plan
    from compose.spec import ComposeSpec, WorkflowSpec
    from ui.client import ApiClient, ApiError

TEXT_TYPES = ("text", "markdown")


@dataclass(frozen=True, slots=True)
class Question:
    """What to run; workflow: None takes the only or default one. target: a file for the output."""

    workflow: str | None
    input: Mapping[str, Any]
    stream: bool = True
    target: Path | None = None


def run(selection: Selection, question: Question, console: Console) -> None:
    """Run a workflow and print its output; raises UserError when it fails."""
    _check_target(question.target)
    state = selection.running()
    if state is not None and _is_of(state, selection):
        _require_router(state)
        for path in changed_files(state):
            console.warn(f"{shown_path(path)} changed, not applied; the server that runs answers as before")
        asyncio.run(_ask(state.api_url, _token(selection.run_folder), question, console))
    else:
        _ask_own_server(selection, question, console)


def _is_of(state: RunState, selection: Selection) -> bool:
    """Whether the run was started from the files that are asked for."""
    return {str(file.absolute()) for file in selection.files} <= state.files.keys()


def _require_router(state: RunState) -> None:
    """Raises UserError for a run whose router was stopped or has failed."""
    router = next((service for service in state.services if service.kind == "router"), None)
    if router is not None and router.state in ("stopping", "stopped", "failed"):
        raise UserError(
            f"the router {'has failed' if router.state == 'failed' else 'is stopped'}, so nothing can be run",
            hint="`model-compose start` starts what is stopped, `model-compose ps` shows why it failed",
            exit_code=ExitCode.NOT_RUNNING,
        )


def _token(folder: RunFolder) -> str | None:
    try:
        settings = json.loads((folder.settings / "router.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    token: str | None = settings.get("auth_token")
    return token


def _ask_own_server(selection: Selection, question: Question, console: Console) -> None:
    """Start what the workflow needs, ask it, stop it."""
    from compose.runtime import chosen_runtime

    whole = selection.load(console)
    if chosen_runtime(whole, None) == "docker":
        console.say("no server runs here; this run starts processes of its own, not containers")
    loaded = only_what_is_needed(whole, question.workflow)
    with tempfile.TemporaryDirectory(prefix="model-compose-") as temporary, execute.socket_directory() as sockets:
        folder = RunFolder(Path(temporary) / FOLDER_NAME)
        folder.make()
        plan = execute.plan_for(loaded, folder, sockets, console)
        base_path = loaded.spec.controller.adapter.base_path
        asyncio.run(_serve_and_ask(plan, folder, base_path, question, console))


async def _serve_and_ask(plan: "Plan", folder: RunFolder, base_path: str, question: Question, console: Console) -> None:
    serving = execute.serving(plan, folder, console, show_logs=console.verbose, show_steps=console.verbose)
    async with serving as supervisor:
        await supervisor.settled()
        console.status("")
        for failure in supervisor.failures:
            raise UserError(failure.message, hint=failure.hint, exit_code=failure.exit_code)
        url = address_text(supervisor.services["router"].address) + base_path
        await _unless(supervisor.stop_requests.orderly, _ask(url, None, question, console))


def only_what_is_needed(loaded: "Loaded", workflow_id: str | None) -> "Loaded":
    """The same file with one workflow, all that it uses, a free loopback port, and no page and database to share."""
    from compose.spec import AdapterSpec, AuthSpec, DatabaseSpec
    from compose.usage import used_by

    spec = loaded.spec
    workflow = choose_workflow(spec, workflow_id)
    usage = used_by(workflow, spec)
    adapter = AdapterSpec.model_construct(host="127.0.0.1", port=0, base_path=spec.controller.adapter.base_path)
    own = {"adapters": (adapter,), "webui": None, "auth": AuthSpec(), "database": DatabaseSpec()}
    controller = spec.controller.model_copy(update=own)
    workflows = tuple(other.model_copy(update={"default": other == workflow}) for other in usage.workflows)
    small = spec.model_copy(update={"controller": controller, "components": usage.components, "workflows": workflows})
    return dataclasses.replace(loaded, spec=small)


def choose_workflow(spec: "ComposeSpec", workflow_id: str | None) -> "WorkflowSpec":
    """The workflow of this id, else the only or default one; raises UserError that lists what there is."""
    from compose.spec import chosen
    from services.router.names import closest

    public = [workflow for workflow in spec.workflows if not workflow.private]
    named = next((workflow for workflow in public if workflow.id == workflow_id), None)
    workflow = named if workflow_id is not None else chosen(public)
    if workflow is None:
        several = "there are several workflows and no default" if public else "there is no workflow to run"
        wrong = f"there is no workflow `{workflow_id}`" if workflow_id else several
        names = ", ".join(workflow.id for workflow in public)
        meant = closest(workflow_id, [workflow.id for workflow in public]) if workflow_id else None
        doubt = f"did you mean `{meant}`? " if meant else ""
        hint = f"{doubt}name one of {names}" if public else "every workflow of the file is `private`"
        raise UserError(wrong, hint=hint, exit_code=ExitCode.USAGE)
    return workflow


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or give it up when `stop` is set first."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise KeyboardInterrupt
        task.result()
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def _ask(url: str, token: str | None, question: Question, console: Console) -> None:
    from ui.client import ApiClient, ApiError

    try:
        async with ApiClient(url, token) as client:
            if question.stream and question.target is None and await _gives_one_text(client, question.workflow):
                await _print_as_it_comes(client, question, console)
            else:
                answer = await client.run(question.workflow, question.input)
                _warn(answer.get("warnings") or [], console)
                _deliver(answer.get("output"), question.target, console)
    except ApiError as error:
        raise user_error(error) from None


async def _gives_one_text(client: "ApiClient", workflow_id: str | None) -> bool:
    """Whether the workflow's output holds one text and nothing else, so that its text can be printed as it comes."""
    workflows = await client.workflows()
    named = [workflow for workflow in workflows if workflow["workflow_id"] == workflow_id]
    chosen = named or (workflows if workflow_id is None else [])
    outputs = [workflow.get("output") or [] for workflow in chosen]
    return bool(outputs) and all(len(output) == 1 and output[0].get("type") in TEXT_TYPES for output in outputs)


async def _print_as_it_comes(client: "ApiClient", question: Question, console: Console) -> None:
    from ui.client import Chunk

    last = ""
    async with contextlib.aclosing(client.stream(question.workflow, question.input)) as events:
        async for event in events:
            if isinstance(event, Chunk):
                console.text(event.text)
                last = event.text or last
                if console.reader_gone:
                    return
                continue
            if not last:
                _deliver(event.output, None, console)
            elif not last.endswith("\n"):
                console.text("\n")
            _warn(event.warnings, console)


def _deliver(output: Any, target: Path | None, console: Console) -> None:
    text = output_text(output)
    if target is None:
        console.text(text if text.endswith("\n") else text + "\n")
        return
    try:
        _write(target, text)
    except OSError as error:
        console.text(text if text.endswith("\n") else text + "\n")  # so that the work is not lost
        raise not_writable(target, error) from None


def _check_target(target: Path | None) -> None:
    """Raises UserError before a long run for a file that cannot be written after it."""
    if target is None:
        return
    if target.is_dir():
        raise not_writable(target, IsADirectoryError(errno.EISDIR, ""))
    if not target.parent.is_dir():
        raise not_writable(target, FileNotFoundError(errno.ENOENT, ""))
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise not_writable(target, PermissionError(errno.EACCES, ""))


def _write(target: Path, text: str) -> None:
    """Write the whole file or nothing; what is no ordinary file, such as a pipe, just gets the text."""
    target = target.resolve()
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def output_text(output: Any) -> str:
    """One text as it is, also as the only value of a map; anything else as JSON."""
    match output:
        case str():
            return output
        case {**parts} if len(parts) == 1 and isinstance(only := next(iter(parts.values())), str):
            return only
        case _:
            return json.dumps(output, indent=2, ensure_ascii=False) + "\n"


def _warn(warnings: list[dict[str, Any]], console: Console) -> None:
    for warning in warnings:
        console.warn(clause(warning["message"]))


def user_error(error: "ApiError") -> UserError:
    """What the API refused or failed at, in words of the terminal and with an exit code."""
    codes = {
        "missing_input": ExitCode.USAGE,
        "unknown_workflow": ExitCode.USAGE,
        "workflow_required": ExitCode.USAGE,
        "unreachable": ExitCode.NOT_RUNNING,
        "timeout": ExitCode.TIMEOUT,
    }
    hint = clause(error.hint) if error.hint else None
    if error.code == "missing_input":
        hint = f"give it with -i {error.field}=TEXT"
    elif error.code == "not_ready":
        hint = "`model-compose ps` shows how far it is"
    return UserError(clause(error.message), hint=hint, exit_code=codes.get(error.code, ExitCode.FAILED))
