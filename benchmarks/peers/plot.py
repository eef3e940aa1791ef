"""Tokens a second over clients as SVG, a line for each contestant, both axes logarithmic."""

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from benchmarks.peers.figures import Figures, Row, Workload, counted

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 40, 50
COLOURS = (
    "#0072b2",
    "#009e73",
    "#d55e00",
    "#444444",
    "#888888",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7a5195",
    "#a6761d",
    "#b2182b",
)
_LABEL_HEIGHT = 16


def plot(figures: Figures, workload: Workload, names: Sequence[str]) -> str:
    """The picture; a contestant without figures has no line."""
    lines = {
        name: [
            (clients, rate)
            for clients in sorted({row.clients for row in figures.loads if row.workload == workload})
            if (rate := figures.tokens_s(Row(name, workload, clients)))
        ]
        for name in names
    }
    shown = {name: points for name, points in lines.items() if points}
    rates = [rate for points in shown.values() for _, rate in points]
    most = max(clients for points in shown.values() for clients, _ in points)
    steps = [step * 10.0**power for power in range(-3, 9) for step in (1, 2, 5)]
    steps = [step for step in steps if min(rates) / 2.5 < step < max(rates) * 2.5]
    low, high = steps[0], steps[-1]

    def x(clients: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(clients) / math.log(max(most, 2))

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(rate / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">New tokens a second over clients, {escape(workload.name)}</text>',
        *_grid(x, y, sorted({clients for points in shown.values() for clients, _ in points}), steps),
    ]
    labels = _spread({name: y(points[-1][1]) for name, points in shown.items()})
    for name, colour in zip(shown, COLOURS * len(shown), strict=False):
        path = " ".join(f"{x(clients):.1f},{y(rate):.1f}" for clients, rate in shown[name])
        end, rate = shown[name][-1]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(c):.1f}" cy="{y(r):.1f}" r="3" fill="{colour}"/>' for c, r in shown[name]]
        label = f"{name}: {rate:.0f}" + ("" if end == most else f" ({counted(end)})")
        where = f'x="{x(most) + 12:.1f}" y="{labels[name] + 4:.1f}"'
        parts.append(f'<text {where} fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _grid(
    x: Callable[[float], float], y: Callable[[float], float], clients: Sequence[int], rates: Sequence[float]
) -> list[str]:
    """Lines and labels of both axes."""
    parts = []
    for count in clients:
        parts.append(_line(x(count), TOP, x(count), HEIGHT - BOTTOM))
        parts.append(f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count}</text>')
    for rate in rates:
        parts.append(_line(LEFT, y(rate), WIDTH - RIGHT, y(rate)))
        parts.append(f'<text x="{LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:g}</text>')
    return [*parts, f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">clients</text>']


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _spread(heights: dict[str, float]) -> dict[str, float]:
    """The same heights, moved down where two labels would cover each other."""
    found: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = max(height, last + _LABEL_HEIGHT)
        found[name] = last
    return found
