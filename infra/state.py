"""What is running, as one file says it: written by the supervisor, read by every other command."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra.errors import ExitCode, UserError
from infra.files import write_private
from infra.unit import UnitState

STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    born: opaque text that no other process of this number has had, on this boot or another.
    """

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """None when there is no such process, or it is a zombie."""
        born = _birth(pid)
        return None if born is None else cls(pid, born)

    def is_alive(self) -> bool:
        return _birth(self.pid) == self.born


class ForeignStateError(UserError):
    """A state that another version wrote; alive: the processes it names that have not ended."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        writer = data.get("tool_version")
        self.alive = [process.pid for process in _processes(data) if process.is_alive()]
        named = f", or end {'process' if len(self.alive) == 1 else 'processes'} {', '.join(map(str, self.alive))}"
        super().__init__(
            f"{path} was written by {f'model-compose {writer}' if writer else 'something else'},"
            " and what it tells of has not ended",
            hint=f"stop that run with the version that started it{named if self.alive else ''}",
            exit_code=ExitCode.ENVIRONMENT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One service at one moment. stage, progress and seconds_left: how far a start is, in the task's own words.

    last_lines: the end of the log of a service that failed.
    """

    name: str
    kind: Literal["task", "router", "page"]
    state: UnitState
    address: str
    process: ProcessId | None = None
    restarts: int = 0
    last_error: str | None = None
    hint: str | None = None
    stage: str | None = None
    progress: float | None = None
    seconds_left: float | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One `up` and its services.

    started_at: ISO 8601, local time with offset. files: the text's sha256 of each file that was read, by absolute path.
    stop_timeout_s: the longest that an orderly stop may take.
    """

    version: int = STATE_VERSION
    tool_version: str
    supervisor: ProcessId
    started_at: str
    spec_digest: str
    files: dict[str, str]
    api_url: str
    page_url: str | None
    socket_directory: str
    stop_timeout_s: float
    runtime: Literal["process", "docker"] = "process"
    services: tuple[ServiceState, ...] = field(default=())

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "RunState | None":
        """None when there is none; raises ForeignStateError, and UserError for one that is not ours to read."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _not_readable(path, error) from None
        except ValueError:
            data = {}
        if not isinstance(data, dict) or data.get("version") != STATE_VERSION:
            raise ForeignStateError(path, data if isinstance(data, dict) else {})
        try:
            return cls(**{**data, "supervisor": ProcessId(**data["supervisor"]), "services": _services(data)})
        except (KeyError, TypeError):
            raise ForeignStateError(path, data) from None


def _services(data: dict[str, Any]) -> tuple[ServiceState, ...]:
    return tuple(
        ServiceState(
            **{
                **service,
                "process": service["process"] and ProcessId(**service["process"]),
                "last_lines": tuple(service["last_lines"]),
            }
        )
        for service in data["services"]
    )


def _not_readable(path: Path, error: OSError) -> UserError:
    """A file or folder of ours that the system does not let us read."""
    return UserError(
        f"{path} cannot be read: {os.strerror(error.errno or 0).lower()}",
        hint="run the command as the user who started the services",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _processes(data: Any) -> Iterator[ProcessId]:
    """Every process that stands anywhere in a state, whatever else its version has changed."""
    match data:
        case {"pid": int(pid), "born": str(born)}:
            yield ProcessId(pid, born)
        case dict():
            for value in data.values():
                yield from _processes(value)
        case list():
            for value in data:
                yield from _processes(value)


def _birth(pid: int) -> str | None:
    """When a process began, said so that neither a clock change nor a reboot can make two processes alike."""
    if sys.platform != "linux":
        return _birth_by_clock(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    ticks = fields[18]
    return None if state in "ZX" else f"{boot}:{ticks}"


def _birth_by_clock(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def this_process() -> ProcessId:
    """The identity of the process that asks."""
    identity = ProcessId.of(os.getpid())
    if identity is None:
        raise RuntimeError("this process cannot read its own start time")
    return identity
