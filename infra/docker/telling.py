"""Tells the router in its container what only the supervisor knows: why a task does not answer."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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


class Telling:
    """Writes the last word into the router's container, which keeps it in its memory: another one is told it again.

    Nothing is written while the tasks do well, because each word costs the start of an interpreter there. What an
    engine that is away does not take is told with the next change.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._wanted = _NOTHING
        self._container = ""
        self._told: str | None = _NOTHING
        self._thread = ThreadPoolExecutor(1, "tells-the-router")

    def begin(self, container: str, *, new: bool) -> None:
        """A router runs in this container. new: it has just been made; else it may have been told something before."""
        self._thread.submit(self._begin, container, _NOTHING if new else None)

    def tell(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """How far each task is. One that says so itself when it is asked needs no other to say it."""
        self._wanted = json.dumps({name: stage for name, stage in stages.items() if "message" in stage})
        self._thread.submit(self._write)

    def _begin(self, container: str, told: str | None) -> None:
        self._container, self._told = container, told
        self._write()

    def _write(self) -> None:
        wanted = self._wanted
        if not self._container or wanted == self._told:
            return
        try:
            status, _ = self._engine.run(self._container, ["python3", "-I", "-S", "-c", _WRITE, STAGES, wanted])
        except EngineError:  # it has ended, or the engine is away
            return
        if status == 0:
            self._told = wanted
