"""The cost of a cycle against the size of the table, as SVG."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

WIDTH, HEIGHT = 780, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 250, 60, 52
COLOURS = ("#b3541e", "#a48a2e", "#7a7a7a", "#1b6e8c")

Curve = Sequence[tuple[float, float]]


def draw(curves: Mapping[str, Curve], title: str, below: str) -> str:
    """SVG of curves (name → points of items and CPU-seconds), both axes logarithmic."""
    points = [point for curve in curves.values() for point in curve]
    sizes = sorted({x for x, _ in points})
    x0, x1 = log10(sizes[0] / 1.4), log10(sizes[-1] * 1.4)
    y0, y1 = _decades([y for _, y in points])

    def x(value: float) -> float:
        return LEFT + (log10(value) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (log10(value) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="bold">{title}</text>',
        f'<text x="{LEFT}" y="43" fill="#555555">{below}</text>',
    ]
    for size in sizes:
        at = x(size)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_short(size)}</text>')
    for exponent in range(y0, y1 + 1):
        at = y(10**exponent)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_short(10**exponent)}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">sale items in the table</text>'
    )
    for curve, colour in zip(curves.values(), COLOURS, strict=False):
        line = " ".join(f"{x(items):.1f},{y(seconds):.1f}" for items, seconds in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for items, seconds in curve:
            left, top = x(items), y(seconds)
            lowest = seconds == min(other for of_curve in curves.values() for at, other in of_curve if at == items)
            label = top + 19 if lowest else top - 9
            parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="{colour}"/>')
            parts.append(
                f'<text x="{left:.1f}" y="{label:.1f}" text-anchor="middle" fill="{colour}">{seconds:.2g}</text>'
            )
    free = float(TOP)
    for (name, curve), colour in sorted(zip(curves.items(), COLOURS, strict=False), key=lambda it: -it[0][1][-1][1]):
        items, seconds = curve[-1]
        free = max(y(seconds) + 4, free + 18)  # names of curves that end close together stand below each other
        parts.append(f'<text x="{x(items) + 20:.1f}" y="{free:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
