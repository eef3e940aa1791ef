"""The figures as Markdown: a table of promises, of tokens a second, of latencies."""

from collections.abc import Iterable, Sequence

from benchmarks.peers.contestants import BASE
from benchmarks.peers.figures import Figures, Row, Workload, counted
from benchmarks.peers.measuring import GREEDY, STREAMED
from benchmarks.peers.targets import Reuse, Service

NONE = "-"
MOST = 32
OURS = ("ours, fp32", "ours, bf16", "ours, int8")


def rates(figures: Figures, workload: Workload, names: Sequence[str]) -> str:
    """New tokens a second, with the ratio to the incumbent."""
    measured = _clients(figures, workload)
    rows = [[name, *(_rate(figures, Row(name, workload, clients)) for clients in measured)] for name in names]
    return _table(["clients", *map(str, measured)], rows)


def latencies(figures: Figures, names: Sequence[str]) -> str:
    """Seconds to the whole greedy answer and to its first text, at the fewest and most clients."""
    few, many = _clients(figures, GREEDY)[0], _clients(figures, GREEDY)[-1]
    head = ["", "clients", "answer, median", "answer, 95 %", "first text, median", "answers as `generate()`"]
    rows = []
    for name in names:
        for clients in (few, many):
            row, stream = Row(name, GREEDY, clients), Row(name, STREAMED, clients)
            answer_s = figures.latency_s(row, 0.5)
            first_s = figures.first_s(stream) or answer_s  # who does not stream has it all at once
            times = [answer_s, figures.latency_s(row, 0.95), first_s]
            equal = figures.equal.get(name)
            shown = f"{equal[0]} of {equal[1]}" if equal else NONE
            rows.append([name, str(clients), *map(_seconds, times), shown if clients == few else ""])
    return _table(head, rows)


def targets(figures: Figures, service: Service | None, reuse: dict[str, Reuse]) -> str:
    """Each promise with what it aims at and what was measured; what was not measured is left out."""
    rows = [*_rate_targets(figures), *_latency_targets(figures)]
    rows += [
        [f"first text of a prompt whose beginning is known, {name}", "", _reused(found)]
        for name, found in reuse.items()
    ]
    return _table(["", "aim", "measured"], [*rows, *(_service_targets(service) if service else ())])


def _rate_targets(figures: Figures) -> Iterable[list[str]]:
    for clients, aims in ((MOST, (15, 33, 45)), (1, (1.1, 2.2, 3.3))):
        for name, aim in zip(OURS, aims, strict=True):
            row = Row(name, GREEDY, clients)
            if (ratio := _ratio(figures, row)) is not None:
                shown = f"{ratio:.1f} x ({_number(figures.tokens_s(row))} tokens/s)"
                yield [f"tokens/s, {counted(clients)}, {name}", f"{aim:g} x", shown]


def _latency_targets(figures: Figures) -> Iterable[list[str]]:
    """p95 and first text of ours in float32, against the incumbent's whole answers."""
    name, base = OURS[0], Row(BASE, GREEDY, MOST)
    ours, theirs = figures.latency_s(Row(name, GREEDY, MOST), 0.95), figures.latency_s(base, 0.95)
    if ours and theirs:
        yield [f"95 % of answers, {MOST} clients, {name}", "15 x sooner", _sooner(ours, theirs)]
    first, answer = figures.first_s(Row(name, STREAMED, MOST)), figures.latency_s(base, 0.5)
    if first and answer:
        yield [f"first text, {MOST} clients, {name}, against the answer", "150 x sooner", _sooner(first, answer)]


def _service_targets(service: Service) -> Iterable[list[str]]:
    (_, one_ms, _), (rate, _, most_ms) = service.runs["router", 1], service.runs["router", 32]
    shown = f"{one_ms:.2f} ms, {_number(rate)} runs/s, {most_ms:.0f} ms"
    if ("incumbent", 1) in service.runs:
        (_, one_ms, _), (rate, _, most_ms) = service.runs["incumbent", 1], service.runs["incumbent", 32]
        shown += f" ({BASE}: {one_ms:.2f} ms, {_number(rate)} runs/s, {most_ms:.0f} ms)"
    yield ["a run without a model: median of 1 client, rate and 95 % of 32", "0.6 ms, 3 000 runs/s, 25 ms", shown]
    aims = {"--help": "0.06 s", "validate": "0.35 s", "up to first answer": "3.3 s"}
    for step, medians in service.start_s.items():
        shown = f"{medians['ours']:.2f} s"
        if BASE in medians:
            shown += f" ({BASE}: {medians[BASE]:.2f} s, {medians[BASE] / medians['ours']:.1f} x)"
        yield [f"`{step}`" if step in ("--help", "validate") else f"`up`{step[2:]}", aims[step], shown]
    yield ["memory of a task beside its weights", "450 MB", f"{service.beside_bytes / 1e6:.0f} MB"]


def _clients(figures: Figures, workload: Workload) -> list[int]:
    return sorted({row.clients for row in figures.loads if row.workload == workload})


def _rate(figures: Figures, row: Row) -> str:
    ratio = _ratio(figures, row)
    number = _number(figures.tokens_s(row))
    return number if ratio is None or row.contestant == BASE else f"{number} ({ratio:.1f} x)"


def _ratio(figures: Figures, row: Row) -> float | None:
    """To the incumbent, of tokens a second; None without both."""
    ours, theirs = figures.tokens_s(row), figures.tokens_s(Row(BASE, row.workload, row.clients))
    return ours / theirs if ours and theirs else None


def _sooner(ours: float, theirs: float) -> str:
    return f"{theirs / ours:.1f} x ({_seconds(ours)} against {_seconds(theirs)})"


def _reused(found: Reuse) -> str:
    return f"{found.first_s / found.later_s:.1f} x sooner ({_seconds(found.later_s)} after {_seconds(found.first_s)})"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}".replace(",", " ")


def _seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
