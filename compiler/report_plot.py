"""How latency grows with a size, as a drawing inside report.html: SVG by hand, coloured by the page's own style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from cortex_compile.compiler.artifacts import SizeCurve
from cortex_compile.compiler.report_words import milliseconds

__all__ = ["latency_plot", "round_marks"]

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 14, 40
# In this drawing's units; figures beside an axis must not touch.
_NARROWEST = 22
# Times are rounded to this; 0 has no place on an axis where each doubling is the same way.
_SHORTEST_MS = 1e-4

Place = Callable[[float], float]


def latency_plot(curve: SizeCurve) -> str:
    """An ``<svg>``: sizes to the right, milliseconds upwards; a doubling of either is the same way everywhere."""
    sizes = [point.size for point in curve.points]
    eager = [(point.size, max(point.eager_ms, _SHORTEST_MS)) for point in curve.points]
    compiled = [(point.size, max(point.compiled_ms, _SHORTEST_MS)) for point in curve.points]
    times = [ms for _, ms in (*eager, *compiled)]
    marks = round_marks(min(times), max(times))
    x, y = _across(sizes), _upwards(marks[0], marks[-1])
    name = escape(curve.dimension)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Latency in ms by {name}, before and after">',
        *_grid(marks, y),
        *_sizes(sizes, curve.sample_size, x),
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 6}" text-anchor="middle">{name}</text>',
        *_line("before", eager, x, y),
        *_line("after", compiled, x, y),
        "</svg>",
    ]
    return "".join(parts)


def round_marks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from one that is not above ``low`` to one that is above ``high``."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    marks = [step * 10.0**power for power in range(first, last + 2) for step in (1, 2, 5)]
    begin = max(index for index, mark in enumerate(marks) if mark <= low)
    end = min(index for index, mark in enumerate(marks) if mark > high)
    return marks[begin : end + 1]


def _across(sizes: Sequence[int]) -> Place:
    low, high = math.log2(sizes[0]), math.log2(sizes[-1])
    width = _WIDTH - _LEFT - _RIGHT
    return lambda size: round(_LEFT + width * (math.log2(size) - low) / (high - low), 1)


def _upwards(bottom: float, top: float) -> Place:
    low, high = math.log2(bottom), math.log2(top)
    height = _HEIGHT - _TOP - _BOTTOM
    return lambda ms: round(_TOP + height * (high - math.log2(ms)) / (high - low), 1)


def _grid(marks: Sequence[float], y: Place) -> list[str]:
    parts = []
    last = math.inf
    for ms in marks:
        if last - y(ms) >= _NARROWEST:
            parts.append(f'<path class="grid" d="M{_LEFT} {y(ms)}H{_WIDTH - _RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y(ms) + 4:g}" text-anchor="end">{ms:g}</text>')
            last = y(ms)
    return parts


def _sizes(sizes: Sequence[int], sample_size: int, x: Place) -> list[str]:
    parts = []
    last = -math.inf
    # The sample's own first, since it is the one that must not be left out.
    shown = [sample_size] if sample_size in sizes else []
    shown += [size for size in sizes if all(abs(x(size) - x(other)) >= _NARROWEST for other in shown)]
    for size in sorted(shown):
        if x(size) - last >= _NARROWEST:
            kind = ' class="sample"' if size == sample_size else ""
            parts.append(f'<text{kind} x="{x(size)}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{size}</text>')
            last = x(size)
    return parts


def _line(kind: str, points: Sequence[tuple[int, float]], x: Place, y: Place) -> list[str]:
    path = "L".join(f"{x(size)} {y(ms)}" for size, ms in points)
    dots = [
        f'<circle class="{kind}" cx="{x(size)}" cy="{y(ms)}" r="3"><title>{kind}, size {size}: '
        f"{milliseconds(ms)} ms</title></circle>"
        for size, ms in points
    ]
    return [f'<path class="{kind}" d="M{path}"/>', *dots]
