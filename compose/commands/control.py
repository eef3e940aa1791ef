"""`stop`, `start` and `restart`: what a user wants done with the services of a run, and what came of it."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from compose.commands.stop import MARGIN_S
from compose.output import Console, Narrator, in_words
from compose.state import Selection, known_service, warn_of_changes
from infra.control import Command, Outcome, Verb, send
from infra.errors import ExitCode, UserError
from infra.state import RunState

REFRESH_INTERVAL_S = 0.2

_PAST = {"stop": "stopped", "start": "started", "restart": "restarted"}


def control(
    selection: Selection, verb: Verb, service: str | None, wait_timeout_s: float | None, console: Console
) -> ExitCode:
    """Do it to one service or to all, and return when it is true; raises UserError when nothing runs or time is up."""
    state = selection.require_running()
    names = tuple(each.name for each in state.services)
    if service is not None:
        names = (known_service(service, names),)
    if verb != "stop":
        warn_of_changes(state, console)
    if wait_timeout_s is None and verb == "stop":
        wait_timeout_s = state.stop_timeout_s + MARGIN_S
    began = time.monotonic()
    outcomes = asyncio.run(_carried_out(selection, state, Command(verb, names), wait_timeout_s, console))
    console.status("")
    return _tell(outcomes, verb, time.monotonic() - began, console)


async def _carried_out(
    selection: Selection, state: RunState, command: Command, timeout_s: float | None, console: Console
) -> list[Outcome]:
    watching = asyncio.create_task(_watch(selection, state, command, console))
    try:
        async with asyncio.timeout(timeout_s):
            outcomes = await send(Path(state.socket_directory), command)
    except TimeoutError:
        names = in_words(command.services)
        raise UserError(
            f"{names} not {_PAST[command.verb]} within {timeout_s:g} s",
            hint="it goes on: `model-compose ps` shows how far it is",
            exit_code=ExitCode.TIMEOUT,
        ) from None
    finally:
        watching.cancel()
    if outcomes is None:
        raise UserError(
            "everything was stopped meanwhile",
            hint="`model-compose up` starts what the file describes",
            exit_code=ExitCode.NOT_RUNNING,
        )
    return outcomes


async def _watch(selection: Selection, state: RunState, command: Command, console: Console) -> None:
    """Show how far it is, as the run writes it down."""
    narrator = Narrator(console, command.services, show_logs=False)
    seen = {service.name: service for service in state.services}
    while True:
        with contextlib.suppress(UserError):
            now = selection.run_folder.running()
            for service in now.services if now else ():
                if service.name in command.services and service != seen[service.name]:
                    seen[service.name] = service
                    narrator.changed(service)
        narrator.refresh()
        await asyncio.sleep(REFRESH_INTERVAL_S)


def _tell(outcomes: Sequence[Outcome], verb: Verb, seconds: float, console: Console) -> ExitCode:
    """Say what happened, and what did not need to; returns what the command ends in."""
    wanted = "stopped" if verb == "stop" else "ready"
    done = [outcome.service for outcome in outcomes if outcome.acted and outcome.state == wanted]
    if done:
        console.result(f"{_PAST[verb]} {in_words(done)} in {seconds:.1f} s")
    missed = [outcome for outcome in outcomes if outcome.service not in done]
    for outcome in missed:
        _tell_of(outcome, verb, console)
    codes = [outcome.exit_code for outcome in missed if verb != "stop"]
    return ExitCode(max(codes, default=0))


def _tell_of(outcome: Outcome, verb: Verb, console: Console) -> None:
    match verb, outcome.state:
        case "stop", "failed":
            console.result(f"{outcome.service} had failed, so there is nothing to stop")
        case "stop", _:
            console.result(f"{outcome.service} is stopped already")
        case _, "ready":
            console.result(f"{outcome.service} runs already")
        case _, "failed":
            failure = outcome.error or "failed"
            named = failure if failure.startswith(outcome.service) else f"{outcome.service}: {failure}"
            console.error(UserError(named, hint=outcome.hint, exit_code=ExitCode.FAILED))
        case _:
            console.error(UserError(f"{outcome.service} was stopped meanwhile", exit_code=ExitCode.FAILED))
