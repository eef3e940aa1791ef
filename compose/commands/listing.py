"""`ps` and `logs`: what runs in a folder, and what it said."""

import contextlib
import json
from dataclasses import asdict
from typing import Any

from compose.output import Console, columns, describe
from compose.state import Selection, changed_files, known_service, memory_bytes, warn_of_changes
from infra.logs import LogLine, follow, services_with_logs, tail
from infra.sizes import megabytes
from infra.state import RunState


def list_services(selection: Selection, console: Console, *, as_json: bool) -> None:
    """Print a table of the services, and what is wrong with those that failed; raises UserError when nothing runs."""
    if as_json and selection.running() is None:
        console.result(json.dumps({"running": False, "services": []}, indent=2))
    state = selection.require_running()
    if as_json:
        console.result(json.dumps(_as_json(state), indent=2))
        return
    header = ("SERVICE", "STATE", "PID", "MEMORY", "ADDRESS", "RESTARTS", "LAST ERROR")
    shown = len(header) if any(service.last_error for service in state.services) else len(header) - 1
    rows = [
        (
            service.name,
            describe(service) if service.process is None or service.process.is_alive() else "ended",
            str(service.process.pid) if service.process else "-",
            megabytes(memory_bytes(service.process)),
            state.api_url if service.kind == "router" else service.address,
            str(service.restarts),
            service.last_error or "-",
        )
        for service in state.services
    ]
    console.result(columns([row[:shown] for row in (header, *rows)]))
    for service in state.services:
        if service.last_lines:
            console.result("\n".join(["", f"the last lines of {service.name}:", *_indented(service.last_lines)]))
        if service.hint:
            console.result(f"\nwhat may help {service.name}: {service.hint}")
    warn_of_changes(state, console)


def _as_json(state: RunState) -> dict[str, Any]:
    services = [
        {
            **{key: value for key, value in asdict(service).items() if key != "process"},
            "pid": service.process.pid if service.process else None,
            "memory_bytes": memory_bytes(service.process),
        }
        for service in state.services
    ]
    return {
        "running": True,
        "started_at": state.started_at,
        "pid": state.supervisor.pid,
        "api_url": state.api_url,
        "page_url": state.page_url,
        "changed_files": changed_files(state),
        "services": services,
    }


def _indented(lines: tuple[str, ...]) -> list[str]:
    return [f"  {line}" for line in lines]


def show_logs(
    selection: Selection,
    service: str | None,
    console: Console,
    *,
    count: int | None,
    keep_on: bool = False,
    times: bool = False,
) -> None:
    """Print the last `count` lines of one service or of all (None: every line kept); keep_on: then the new ones.

    times: with the time of each. Following ends with the run, and with Ctrl-C, which is how one ends it.
    """
    folder = selection.run_folder
    known = sorted({*services_with_logs(folder.logs), *_running_services(selection)})
    if not known:
        selection.require_running()
    chosen = [known_service(service, known)] if service is not None else known
    width = max(map(len, chosen), default=0)
    lines = follow(folder.logs, chosen, count) if keep_on else iter(tail(folder.logs, chosen, count))
    with contextlib.suppress(KeyboardInterrupt):
        for line in lines:
            if line is not None:
                text = _shown(line, width, named=service is None)
                console.result(f"{line.time} {text}" if times else text)
            if console.reader_gone or (line is None and selection.running() is None):
                return


def _running_services(selection: Selection) -> list[str]:
    state = selection.running()
    return [service.name for service in state.services] if state else []


def _shown(line: LogLine, width: int, *, named: bool) -> str:
    return f"{line.service:{width}} | {line.text}" if named else line.text
