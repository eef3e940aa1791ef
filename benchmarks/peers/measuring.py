"""Asks every contestant the same, in turns, for as many rounds as the time allows."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contestants import OURS, Running
from benchmarks.peers.figures import Figures, Row, Workload
from benchmarks.peers.load import RefusedError, measure

GREEDY = Workload("greedy")
SAMPLED = Workload("sampled", sampled=True)
LONG = Workload("long prompts", kind="long")
STREAMED = Workload("streamed", stream=True)


@dataclass(frozen=True)
class Plan:
    """headline: measured in every round; once: in the first one only. seconds: of each measurement, at least.

    checked: prompts of each kind whose answers are compared with those of `generate()`.
    """

    headline: tuple[tuple[Workload, int], ...]
    once: tuple[tuple[Workload, int], ...]
    tokens: int = 64
    seconds: float = 2
    checked: int = 8
    most_rounds: int = 5
    minutes: float = 9


FULL = Plan(
    headline=((GREEDY, 1), (GREEDY, 32)),
    once=(
        *((STREAMED, clients) for clients in (1, 32)),
        *((GREEDY, clients) for clients in (4, 8, 16)),
        *((SAMPLED, clients) for clients in (1, 32)),
        *((LONG, clients) for clients in (1, 8, 32)),
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


def measure_all(plan: Plan, contestants: list[Running], model: Path) -> Figures:
    """Check the answers, then measure."""
    figures = Figures(plan.tokens)
    check(plan, contestants, model, figures)
    end = time.monotonic() + plan.minutes * 60
    began = time.monotonic()
    one_round(plan, plan.headline, contestants, figures, 1)
    round_s = time.monotonic() - began
    for workload, clients in plan.once:
        if time.monotonic() + round_s > end:
            print(f"no time for {workload.name}, {clients} clients", flush=True)
            continue
        one_round(plan, ((workload, clients),), contestants, figures, 1)
    for number in range(2, plan.most_rounds + 1):
        if time.monotonic() + round_s > end:
            break
        one_round(plan, plan.headline, contestants, figures, number)
    return figures


def check(plan: Plan, contestants: list[Running], model: Path, figures: Figures) -> None:
    """All of a kind's prompts at once: so batches are checked, and everybody is warm afterwards."""
    expected = json.loads((model / "answers.json").read_text(encoding="utf-8"))
    for running in contestants:
        right = asked = 0
        for kind in (GREEDY.kind, LONG.kind):
            with alone(running, contestants):
                load = measure(running.cell(kind=kind, clients=plan.checked, tokens=plan.tokens, seconds=0, first=0))
            right += sum(reply.text == expected[kind][reply.number] for reply in load.replies)
            asked += len(load.replies)
        if running.contestant.exact:
            figures.equal[running.contestant.name] = (right, asked)
        print(f"{running.contestant.name}: {right} of {asked} answers are those of generate()", flush=True)


def one_round(
    plan: Plan, cells: tuple[tuple[Workload, int], ...], contestants: list[Running], figures: Figures, number: int
) -> None:
    """Who fails is told, and has no figure."""
    for workload, clients in cells:
        for running in contestants:
            if not takes_part(running, workload, clients):
                continue
            row = Row(running.contestant.name, workload, clients)
            cell = running.cell(
                kind=workload.kind,
                clients=clients,
                tokens=plan.tokens,
                seconds=plan.seconds,
                first=1_000_000 * number + 1000 * clients,  # nobody is asked the same twice
                sampled=workload.sampled,
                stream=workload.stream,
            )
            try:
                with alone(running, contestants):
                    figures.add(row, measure(cell))
            except RefusedError as error:
                print(f"{row.contestant}, {workload.name}, {clients} clients: failed: {error}", flush=True)
                continue
            shown = f"{row.contestant}, {workload.name}, {clients} clients"
            print(f"round {number}: {shown}: {figures.tokens_s(row):.0f} tokens/s", flush=True)


def takes_part(running: Running, workload: Workload, clients: int) -> bool:
    """Whether it is measured so."""
    contestant = running.contestant
    able = (contestant.samples or not workload.sampled) and (contestant.streams or not workload.stream)
    return able and clients <= contestant.most_clients


@contextlib.contextmanager
def alone(running: Running, contestants: list[Running]) -> Iterator[None]:
    """The other tools' processes stand still inside the block: some of them compute while nobody asks."""
    others = {other.process.pid for other in contestants if other.contestant.server != OURS}
    others.discard(running.process.pid)
    _signal(others, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(others, signal.SIGCONT)


def _signal(leaders: set[int], number: signal.Signals) -> None:
    for pid in leaders:
        with contextlib.suppress(ProcessLookupError):  # it has ended, which its next measurement tells
            os.killpg(pid, number)
