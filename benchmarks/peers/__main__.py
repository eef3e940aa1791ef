"""Measures us beside other tools on one model, and writes docs/performance.md.

    python -m benchmarks.peers [--smoke] [--minutes 12] [--only NAME ...] [--document FILE]

Who has no environment yet (`python -m benchmarks.peers.environments`) is left out with a line. `--smoke` does
everything once on a small model, measures nothing worth knowing, and prints instead of writing.
"""

import argparse
import datetime
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.document import machine, rewrite
from benchmarks.peers import table, targets
from benchmarks.peers.contestants import CONTESTANTS, REPOSITORY, serving
from benchmarks.peers.figures import Figures, Row
from benchmarks.peers.measuring import FULL, GREEDY, LONG, SAMPLED, SMOKE, Comparison
from benchmarks.peers.plot import plot

DOCUMENT = REPOSITORY / "docs" / "performance.md"


def report(figures: Figures, service: targets.Service | None, reuse: dict[str, targets.Reuse], picture: str) -> str:
    """The measured part of the document. picture: where it lies, as seen from there."""
    names = list(dict.fromkeys(row.contestant for row in figures.loads))
    rounds = figures.rounds(Row(names[0], GREEDY, 1))
    return "\n".join(
        (
            f"Measured on {datetime.datetime.now(tz=datetime.UTC):%-d %B %Y} on {machine()}. Each figure for 1 and 32",
            f"clients that continue short prompts greedily is the median of {rounds} interleaved rounds; the others",
            "are of one.\n",
            "### What was aimed at\n",
            table.targets(figures, service, reuse),
            "### New tokens a second: short prompts, greedy\n",
            f"![New tokens a second over clients]({picture})\n",
            table.rates(figures, GREEDY, names),
            "### Sampled (temperature 0.7, top_k 50, top_p 0.9)\n",
            table.rates(figures, SAMPLED, names),
            "### Prompts of 64 to 512 words\n",
            table.rates(figures, LONG, names),
            "### Latency\n",
            table.latencies(figures, names),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure us beside other tools on one model.")
    parser.add_argument("--smoke", action="store_true", help="once, on a small model; print instead of writing")
    parser.add_argument("--minutes", type=float, default=12, help="for everything; more is more rounds")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="whose names begin so, instead of all")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    plan = SMOKE if options.smoke else FULL
    end = time.monotonic() + options.minutes * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="mc-") as name:
        folder = Path(name)
        size = "smoke" if options.smoke else "full"
        command = [sys.executable, "-m", "benchmarks.peers.model", str(folder / "model"), size]
        subprocess.run([*command, str(plan.tokens), str(plan.checked)], check=True)
        print("the model is written", flush=True)
        service = None if options.smoke else targets.measure_service(folder / "model")
        print("the contestants start", flush=True)
        chosen = tuple(one for one in CONTESTANTS if one.name.startswith(tuple(options.only or [""])))
        with serving(folder / "model", folder, chosen) as contestants:
            comparison = Comparison(plan, contestants)
            comparison.check(folder / "model")
            reuse = targets.measure_reuse(contestants, plan.tokens)
            comparison.run(end)
    figures = comparison.figures
    picture = options.document.with_suffix(".svg")
    measured = report(figures, service, reuse, picture.name)
    if options.smoke:
        print(measured)
        return
    names = list(dict.fromkeys(row.contestant for row in figures.loads))
    picture.write_text(plot(figures, GREEDY, names), encoding="utf-8")
    rewrite(options.document, measured)


if __name__ == "__main__":
    main()
