"""Units that need no model, and a listener that remembers, for the tests of the supervisor."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra.folder import RunFolder
from infra.state import ServiceState
from infra.unit import TcpAddress, Unit, UnixAddress

CHECKOUT = Path(__file__).parents[2]
IMPORTABLE = {"PYTHONPATH": str(CHECKOUT)}
"""The tests are not installed, and children inherit no PYTHONPATH."""


def fake_unit(
    name: str,
    sockets: Path,
    *,
    kind: Literal["task", "router", "page"] = "task",
    prepare: dict[str, Any] | None = None,
    start_timeout_s: float = 30,
    stop_timeout_s: float = 5,
    import_s: float = 0,
    **knobs: Any,
) -> Unit:
    """A unit of `tests.infra.fake_unit`; the knobs are its own."""
    return Unit(
        name=name,
        kind=kind,
        module="tests.infra.fake_unit",
        settings=json.dumps(knobs),
        address=UnixAddress(str(sockets / f"{name}.sock")) if kind == "task" else TcpAddress("127.0.0.1", 0),
        ready_path="/readyz",
        prepare=("tests.infra.fake_prepare", json.dumps(prepare)) if prepare else None,
        environment={**IMPORTABLE, "FAKE_IMPORT_S": str(import_s)},
        prepare_environment=IMPORTABLE,
        start_timeout_s=start_timeout_s,
        stop_timeout_s=stop_timeout_s,
    )


@dataclass
class Recorder:
    """Remembers all lines and states, and lets a test wait for what comes."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    states: list[ServiceState] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def line(self, service: str, text: str) -> None:
        self.lines.append((service, text))
        self._news.set()

    def changed(self, service: ServiceState) -> None:
        self.states.append(service)
        self._news.set()

    def history(self, name: str) -> list[str]:
        """The states that a service went through, each once."""
        states = [state.state for state in self.states if state.name == name]
        return [state for before, state in zip([None, *states], states, strict=False) if state != before]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until news make `condition` true.

        It may ask for lines and states only: the files follow the news, and tell nobody. For them there is `within`.
        """
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()


@dataclass
class Run:
    """One run's folders."""

    folder: RunFolder
    sockets: Path


async def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.01)
    return condition()
