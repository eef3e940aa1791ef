"""Asks every contestant the same, in turns, for as many rounds as the time allows."""

import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers.contestants import OURS, Running
from benchmarks.peers.figures import Figures, Row, Workload, counted
from benchmarks.peers.load import Cell, RefusedError, measure
from benchmarks.peers.prompts import CHECKED, Kind

GREEDY = Workload("greedy")
SAMPLED = Workload("sampled", sampled=True)
LONG = Workload("long prompts", kind="long")
STREAMED = Workload("streamed", stream=True)

_MOST_PROMPTS = 100_000
"""Of one measurement."""


@dataclass(frozen=True)
class Plan:
    """headline: measured in every round; once: in the first one only, for half of the time.

    seconds: of each measurement, at least. checked: prompts of each kind whose answers must be those of `generate()`.
    """

    headline: tuple[tuple[Workload, int], ...]
    once: tuple[tuple[Workload, int], ...]
    tokens: int = 64
    seconds: float = 2
    checked: int = 6
    most_rounds: int = 5


FULL = Plan(
    headline=((GREEDY, 1), (GREEDY, 32)),
    once=(
        *((STREAMED, clients) for clients in (1, 32)),
        *((GREEDY, clients) for clients in (4, 8, 16)),
        *((SAMPLED, clients) for clients in (1, 32)),
        *((LONG, clients) for clients in (1, 32)),
    ),
)
SMOKE = Plan(
    headline=((GREEDY, 1), (GREEDY, 4)),
    once=((STREAMED, 1), (STREAMED, 4), (SAMPLED, 4), (LONG, 4)),
    tokens=16,
    seconds=0,
    checked=2,
    most_rounds=1,
)


class Comparison:
    """All measurements of one plan; `figures` fills up."""

    def __init__(self, plan: Plan, contestants: list[Running]) -> None:
        self.figures = Figures(plan.tokens)
        self._plan = plan
        self._contestants = list(contestants)
        self._warm: set[tuple[str, Kind, int]] = set()
        self._prompts = itertools.count(_MOST_PROMPTS, _MOST_PROMPTS)
        self._began = time.monotonic()

    def run(self, end: float) -> None:
        """Until about `end`, in `time.monotonic`: the headline, everything else, and the headline again."""
        plan = self._plan
        began = time.monotonic()
        for workload, clients in plan.headline:
            self._measure(workload, clients, plan.seconds)
        round_s = time.monotonic() - began
        for workload, clients in plan.once:
            if time.monotonic() < end:
                self._measure(workload, clients, plan.seconds / 2)
            else:
                self._say(f"no time for: {workload.name}, {counted(clients)}")
        for _ in range(1, plan.most_rounds):
            if time.monotonic() + round_s < end:
                for workload, clients in plan.headline:
                    self._measure(workload, clients, plan.seconds)

    def check(self, model: Path) -> None:
        """All of a kind's prompts at once: so batches are checked, and everybody is warm afterwards."""
        expected: dict[str, list[str]] = json.loads((model / "answers.json").read_text(encoding="utf-8"))
        for running in tuple(self._contestants):
            name = running.contestant.name
            try:
                equal = [same for kind in CHECKED for same in self._compare(running, kind, expected[kind])]
            except RefusedError as error:
                self._say(f"{name} is left out: {error}")
                self._contestants.remove(running)
                continue
            if running.contestant.exact:
                self.figures.equal[name] = (sum(equal), len(equal))
            self._say(f"{name}: {sum(equal)} of {len(equal)} answers are those of generate()")

    def _compare(self, running: Running, kind: Kind, expected: list[str]) -> list[bool]:
        cell = running.cell(kind=kind, clients=len(expected), tokens=self._plan.tokens, seconds=0, first=0)
        with self._alone(running):
            replies = measure(cell).replies
        return [_whole(reply.text) == _whole(expected[reply.number]) for reply in replies]

    def _measure(self, workload: Workload, clients: int, seconds: float) -> None:
        """Everybody on the same prompts, which nobody was asked before. Who fails is told, and has no figure."""
        first = next(self._prompts)
        for running in self._contestants:
            if not takes_part(running, workload, clients):
                continue
            row = Row(running.contestant.name, workload, clients)
            cell = running.cell(
                kind=workload.kind,
                clients=clients,
                tokens=self._plan.tokens,
                seconds=seconds,
                first=first,
                sampled=workload.sampled,
                stream=workload.stream,
            )
            shown = f"{workload.name}, {counted(clients)}: {row.contestant}"
            try:
                with self._alone(running):
                    self._warm_up(running, cell)
                    load = measure(cell)
            except RefusedError as error:
                self._say(f"{shown} failed: {error}")
                continue
            self.figures.add(row, load)
            self._say(f"{shown}: {self._plan.tokens * len(load.replies) / load.took_s:.0f} tokens/s")

    def _warm_up(self, running: Running, cell: Cell) -> None:
        """Batches of a size that a server has not had yet take longer: one goes before the first that counts."""
        known = running.contestant.name, cell.kind, cell.clients
        if known not in self._warm and cell.seconds and not running.contestant.serial:
            measure(replace(cell, seconds=0, first=next(self._prompts)))
            self._warm.add(known)

    @contextlib.contextmanager
    def _alone(self, running: Running) -> Iterator[None]:
        """The other tools' processes stand still inside the block: some of them compute while nobody asks."""
        others = {other.process.pid for other in self._contestants if other.contestant.server != OURS}
        others.discard(running.process.pid)
        _signal(others, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(others, signal.SIGCONT)

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:4.0f} s  {text}", flush=True)


def takes_part(running: Running, workload: Workload, clients: int) -> bool:
    """Whether it is measured so."""
    contestant = running.contestant
    if contestant.brief and workload != GREEDY:
        return False
    able = (contestant.samples or not workload.sampled) and (contestant.streams or not workload.stream)
    return able and clients <= contestant.most_clients


def _whole(text: str) -> str:
    """Without what is no whole character, which some show and some leave out."""
    return text.replace("\N{REPLACEMENT CHARACTER}", "")


def _signal(leaders: set[int], number: signal.Signals) -> None:
    for pid in leaders:
        with contextlib.suppress(ProcessLookupError):  # it has ended, which its next measurement tells
            os.killpg(pid, number)
