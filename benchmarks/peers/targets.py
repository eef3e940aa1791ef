"""What the tables of tokens do not show: reused prompts, and what the other scripts of benchmarks/ measure."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import memory, overhead, startup
from benchmarks.peers import environments
from benchmarks.peers.contestants import BASE, OURS, Running
from benchmarks.peers.load import measure


@dataclass(frozen=True)
class Reuse:
    """The time to the first text of a long prompt whose beginning nobody has asked before, and of later ones."""

    first_s: float
    later_s: float


@dataclass(frozen=True)
class Service:
    """runs: without a model. start_s: by step and tool. beside_bytes: what a loaded task holds without its weights."""

    runs: overhead.Figures
    start_s: dict[str, dict[str, float]]
    beside_bytes: int


def measure_reuse(contestants: list[Running], tokens: int) -> dict[str, Reuse]:
    """By contestant of ours; nobody may have asked these prompts before."""
    found = {}
    for running in contestants:
        if running.contestant.server == OURS:
            first, *later = (_ask_shared(running, number, tokens) for number in range(8))
            found[running.contestant.name] = Reuse(first, statistics.median(later))
    return found


def _ask_shared(running: Running, number: int, tokens: int) -> float:
    """Seconds to the first text."""
    load = measure(running.cell(kind="shared", clients=1, tokens=tokens, seconds=0, first=number, stream=True))
    return load.replies[0].first_s


def measure_service(model: Path) -> Service:
    """Before anything else is started, which would disturb it. The model is only one that takes memory."""
    incumbent = environments.find(BASE)
    case = memory.Case("the model", model, precision="float32")
    loaded, _ = memory.measure(case)
    with tempfile.TemporaryDirectory() as folder:
        start_s = startup.compare(Path(folder), incumbent, rounds=3)
    return Service(
        runs=overhead.measure_all(incumbent, rounds=3, seconds=1.5),
        start_s=start_s,
        beside_bytes=loaded - (model / "model.safetensors").stat().st_size,
    )
