"""The text of a run's output on its way to the client while it is made."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.router.analysis.outputs import texts
from services.router.messages import Run, RunStatus

OnText = Callable[[str, str], Awaitable[None]]
"""Awaited with a path in the output and the text that comes next there; the empty path is the output itself."""


class Sending:
    """Sends each text of the output once: pieces as they come, and at the end what is still missing."""

    def __init__(self, run: Run, on_text: OnText) -> None:
        self._run = run
        self._on_text = on_text
        self._sent: dict[str, int] = {}
        """Characters by path."""

    async def send(self, path: str, text: str) -> None:
        self._run.status = RunStatus.STREAMING
        self._sent[path] = self._sent.get(path, 0) + len(text)
        await self._on_text(path, text)

    async def finish(self, output: Any) -> None:
        """Send what the finished output has beyond the pieces."""
        for path, text in texts(output):
            if rest := text[self._sent.get(path, 0) :]:
                await self._on_text(path, rest)
