"""Tells the router in its container what only the supervisor knows: why a task does not answer."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.docker.container import STAGES
from infra.docker.errors import EngineError

if TYPE_CHECKING:
    from infra.docker.engine import Engine

_WRITE: Final = (
    "import os, sys; path, text = sys.argv[1:]; open(path + '.new', 'w').write(text); os.replace(path + '.new', path)"
)
_NOTHING: Final = "{}"
"""What the router makes of a file that is not there."""


@dataclass
class _Router:
    """A container with the router, and what was told there; None: it is not known."""

    container: str
    told: str | None


class Telling:
    """Writes the last word into the router's container, which keeps it in its memory: another one is told it again.

    Nothing is written while the tasks do well, because each word costs the start of an interpreter there. What an
    engine that is away does not take is told with the next change.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._wanted = _NOTHING
        self._router: _Router | None = None
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, container: str, *, new: bool) -> None:
        """A router runs in this container. new: it has just been made; else it may have been told something before."""
        self._router = _Router(container, _NOTHING if new else None)
        self._changed.set()
        if self._thread is None:  # which nobody waits for at the end, for an engine may never answer
            self._thread = threading.Thread(target=self._keep_told, name="tells-the-router", daemon=True)
            self._thread.start()

    def tell(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """How far each task is. One that says so itself when it is asked needs no other to say it."""
        self._wanted = json.dumps({name: stage for name, stage in stages.items() if "message" in stage})
        self._changed.set()

    def _keep_told(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            self._write()

    def _write(self) -> None:
        router, wanted = self._router, self._wanted
        if router is None or wanted == router.told:
            return
        try:
            status, _ = self._engine.run(router.container, ["python3", "-I", "-S", "-c", _WRITE, STAGES, wanted])
        except EngineError:  # it has ended, or the engine is away
            return
        if status == 0:
            router.told = wanted
