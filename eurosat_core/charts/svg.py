"""Small charts as inline SVG, for the report that opens without a server: bars and lines, every word escaped."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bar", "Line", "bars", "lines"]

_COLOURS = ("#2A8CD6", "#DB7B0B", "#2F9E8F", "#B5559F", "#8F8F2E", "#CC6677", "#7A8490", "#6C74D6")
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_WIDTH = 640


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, the figure in words. pale: it was not measured here."""

    name: str
    value: float
    words: str
    pale: bool = False


@dataclass(frozen=True)
class Line:
    """One line: its name, and its points (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Bars below each other, the name above each and its figure beside it; lengths from 0 to the longest."""
    longest = max((each.value for each in rows), default=0.0) or 1.0
    parts = []
    for at, each in enumerate(rows):
        top = 44 * at
        width = max(1.0, (_WIDTH - 150) * max(each.value, 0.0) / longest)
        look = 'fill-opacity=".3" stroke-dasharray="4 3"' if each.pale else ""
        parts.append(
            f'<text x="0" y="{top + 14}">{html.escape(each.name)}</text>'
            f'<rect x="1" y="{top + 20}" width="{width:.1f}" height="16" rx="3" fill="{_COLOURS[0]}" '
            f'stroke="{_COLOURS[0]}" {look}/>'
            f'<text x="{width + 8:.1f}" y="{top + 33}">{html.escape(each.words)}</text>'
        )
    return _svg(title, "".join(parts), 44 * len(rows) + 4)


def lines(title: str, rows: Sequence[Line], x_name: str, *, highest: float = 1.0) -> str:
    """Lines over a common axis that begins at 0, with a legend above; y is a share, drawn up to `highest`."""
    furthest = max((x for each in rows for x, _ in each.points), default=0.0) or 1.0
    legend = 22 * len(rows)
    left, right, top, bottom = 52, _WIDTH - 12, legend + 16, legend + 256

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / furthest, bottom - (bottom - top) * min(y / highest, 1.0)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = place(0, share * highest)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#8A8F98" stroke-opacity=".4"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 5:.1f}" text-anchor="end">{100 * share * highest:.0f} %</text>')
    for at, each in enumerate(rows):
        look = f'stroke="{_COLOURS[at % len(_COLOURS)]}" stroke-dasharray="{_DASHES[at % len(_DASHES)]}"'
        parts.append(f'<line x1="0" y1="{22 * at + 10}" x2="34" y2="{22 * at + 10}" stroke-width="3" {look}/>')
        parts.append(f'<text x="42" y="{22 * at + 15}">{html.escape(each.name)}</text>')
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in each.points))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke-width="2.5" {look}/>')
    axis = f'<text x="{right}" y="{bottom + 24}" text-anchor="end">{html.escape(x_name)}: 0 to {furthest:g}</text>'
    return _svg(title, "".join(parts) + axis, bottom + 32)


def _svg(title: str, body: str, height: float) -> str:
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">{body}</svg></figure>'
    )
