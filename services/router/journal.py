"""What a durable run has finished so far, so that after a crash it goes on where it was."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class JobKey(NamedTuple):
    """Which piece of work of a run: never by the order of execution, because parallel jobs finish in any order.

    job: the job's id; a job inside a sub-workflow has the key of its outer job before it.
    part: the index of the repeat, item or iteration; -1 is the job as a whole.
    visit: how often the job had been started anew by routing, from 1.
    """

    job: str
    part: int
    visit: int


class Journal(Protocol):
    """The finished pieces of one run. Records are JSON objects that only the engine reads."""

    def find(self, key: JobKey) -> Mapping[str, Any] | None:
        """The record of a piece that an earlier process has finished."""
        ...

    def note(self, key: JobKey, record: Mapping[str, Any]) -> None:
        """Keep a record soon; what is noted earlier never gets lost without what is noted later."""
        ...
