"""Measures what images cost, ours and those of stock `bentoml containerize`, and writes docs/images.md.

    python -m benchmarks.images [--only NAME ...] [--without-stock] [--megabytes 1000] [--print]

It needs a Docker engine as `infra/engine/engine` installs it, with its registry. The first run fetches packages and
bases into build/benchmarks (about 2 GB with uv's cache), which `--prepare` does alone; after that nothing but the
compilers of stock images comes from a network. `--smoke` measures nothing worth knowing.
"""

import argparse
import datetime
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.document import machine, rewrite
from benchmarks.images import building, running, stock
from benchmarks.images.bench import Bench, Row, bench
from benchmarks.images.place import KEPT, REPOSITORY, Place, works
from benchmarks.images.preparing import prepare

DOCUMENT = REPOSITORY / "docs" / "images.md"
MEASUREMENTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "cold": building.cold,
    "hashing": building.hashing,
    "unchanged": building.unchanged,
    "prompt": building.prompt,
    "code": building.code,
    "bump": building.bump,
    "shared": building.shared,
    "reproducible": building.reproducible,
    "sizes": building.sizes,
    "ready": running.ready,
    "sigterm": running.sigterm,
}
SMOKE = ("hashing", "unchanged", "prompt")
"""What needs no network, no layers of packages but those of the cache, and no registry."""


def table(rows: list[Row]) -> str:
    head = ("what", "target", "ours", "`bentoml containerize`")
    lines = [head, ("---",) * 4, *((row.what, row.target, row.ours, row.stock) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def report(rows: list[Row], *, with_stock: bool) -> str:
    """The measured part of the document."""
    base = stock.base() if with_stock else ""
    shown = f"`{stock.OFFICIAL}`" if base == stock.OFFICIAL else "Debian's packages, put together by debootstrap"
    beside = f" The other side's base is {shown}." if with_stock else ""
    day = f"{datetime.datetime.now(tz=datetime.UTC):%-d %B %Y}"
    return f"Measured on {day} on {machine()}.{beside}\n\n{table(rows)}"


def _absolute(text: str) -> Path:
    """Commands run in folders of their own."""
    return Path(text).absolute()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what images cost.")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--without-stock", action="store_true", help="leave `bentoml containerize` out")
    parser.add_argument("--megabytes", type=int, default=1000, help="of the large model")
    parser.add_argument("--print", action="store_true", help="instead of writing the document")
    parser.add_argument("--prepare", action="store_true", help="fetch what is needed, and measure nothing")
    parser.add_argument("--smoke", action="store_true", help="a few, small, without the other side; print")
    parser.add_argument("--kept", type=_absolute, default=KEPT, help="where bases and packages are kept")
    parser.add_argument("--lock", type=_absolute, help="for --smoke: a lock with all packages")
    parser.add_argument("--cache", type=_absolute, help="for --smoke: a cache with their layers")
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    if not (shutil.which("docker-registry") and works("docker", "version")):
        print("there is no Docker engine and registry; see infra/engine/engine")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    with_stock = not (options.without_stock or options.smoke)
    options.kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=options.kept) as scratch:
        megabytes = 10 if options.smoke else options.megabytes
        place = Place(Path(scratch), megabytes, options.kept, options.lock, options.cache)
        prepare(place, with_stock=with_stock)
        if options.prepare:
            return
        rows = measure(place, options.only or (SMOKE if options.smoke else [*MEASUREMENTS]), with_stock=with_stock)
    print(table(rows))
    if not (options.print or options.only or options.smoke):
        rewrite(DOCUMENT, report(rows, with_stock=with_stock))


def measure(place: Place, names: list[str] | tuple[str, ...], *, with_stock: bool) -> list[Row]:
    """The rows of these measurements, which are told while they go on."""
    rows: list[Row] = []
    with bench(place, with_stock=with_stock) as made:
        for name in names:
            started = time.perf_counter()
            found = list(MEASUREMENTS[name](made))
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
            rows += found
    return rows


if __name__ == "__main__":
    main()
