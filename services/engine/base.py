"""What a task and an engine say to each other: prompts of token ids in, text out as it comes.

Nothing here knows torch; an engine keeps all of it in one thread of its own.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from services.engine.sampling import Sampling
from services.wire import FinishReason, Readiness


@dataclass(frozen=True, slots=True)
class Prompt:
    """One input: its token ids and how many new tokens may and must follow.

    continues: the answer goes on in the middle of the prompt's text, so that a first word keeps its leading space.
    """

    ids: tuple[int, ...]
    max_new: int
    min_new: int = 0
    continues: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Several prompts under one seed and one place in the queue; prompt `i` is sampled with `seed + i`."""

    prompts: tuple[Prompt, ...]
    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole characters that came since the last piece of this sequence."""

    prompt: int
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: `texts[prompt][sequence]`, each the joined pieces of its sequence, and why each of them ended."""

    texts: tuple[tuple[str, ...], ...]
    finish_reasons: tuple[tuple[FinishReason, ...], ...]
    completion_tokens: int


class Generation(Protocol):
    """One admitted request."""

    def events(self) -> AsyncGenerator[Piece | Finished, None]:
        """Pieces, then exactly one Finished; raises ServiceError. Closing it cancels the request."""

    def cancel(self) -> None:
        """Give the place up; a running computation stops within one token."""


class Engine(Protocol):
    """Runs one model."""

    @property
    def readiness(self) -> Readiness:
        """How far loading is; safe to read from any thread."""

    def start(self) -> None:
        """Begin to load, in the background; a second call does nothing."""

    def check_queue(self, coming: int = 0) -> None:
        """Raises ServiceError 503 when the queue is full, or will be once the requests that come have joined it."""

    def submit(self, request: GenerationRequest) -> Generation:
        """Take a place in the queue, from the event loop; raises ServiceError 503 when it is full."""
