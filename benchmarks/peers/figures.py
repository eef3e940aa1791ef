"""What was measured, and the medians of it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.peers.load import Load
from benchmarks.peers.prompts import Kind
from benchmarks.raw import percentile


@dataclass(frozen=True)
class Workload:
    """What is asked. `name` heads a table's columns."""

    name: str
    kind: Kind = "short"
    sampled: bool = False
    stream: bool = False


def counted(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


@dataclass(frozen=True)
class Row:
    """One workload by one number of clients at one contestant, over all rounds."""

    contestant: str
    workload: Workload
    clients: int


@dataclass
class Figures:
    """loads: one a round. equal: of how many answers each exact contestant gave those of `generate()`."""

    tokens: int
    loads: dict[Row, list[Load]] = field(default_factory=dict)
    equal: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, row: Row, load: Load) -> None:
        self.loads.setdefault(row, []).append(load)

    def tokens_s(self, row: Row) -> float | None:
        """New tokens a second, all clients together; None when it was not measured."""
        return _median(self.tokens * len(load.replies) / load.took_s for load in self.loads.get(row, ()))

    def latency_s(self, row: Row, share: float) -> float | None:
        """The time to the whole answer below which this share of them lies."""
        found = ([reply.took_s for reply in load.replies] for load in self.loads.get(row, ()))
        return _median(percentile(times, share) for times in found)

    def first_s(self, row: Row) -> float | None:
        """The time to the first text, in the middle."""
        found = ([reply.first_s for reply in load.replies] for load in self.loads.get(row, ()))
        return _median(statistics.median(times) for times in found)

    def rounds(self, row: Row) -> int:
        return len(self.loads.get(row, ()))


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
