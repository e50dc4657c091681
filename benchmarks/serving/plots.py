"""Bars as an SVG picture, without a library: groups of bars, one for each server, each group on a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Group = tuple[str, Sequence[tuple[str, float | None]]]
"""Its name, and the servers with their values; None where there is none."""

_COLOURS = ("#0b6e4f", "#8d99ae", "#c58b4e", "#6d6a9c", "#a8577e", "#5b8fb9", "#8a8a5c")
_WIDTH, _LABEL, _VALUE, _BAR, _GAP = 620, 120, 70, 13, 26


def bar_chart(title: str, groups: Sequence[Group]) -> str:
    """Longer is more; the value stands behind each bar. The colour of a server is the same in all groups."""
    servers = list(dict.fromkeys(server for _, bars in groups for server, _ in bars))
    parts, y = [_text(8, 18, title, bold=True)], 34
    for name, bars in groups:
        parts.append(_text(8, y + 12, name, bold=True))
        y += 18
        largest = max((value for _, value in bars if value is not None), default=0.0)
        for server, value in bars:
            parts.append(_text(_LABEL - 6, y + 10, server, right=True))
            if value is None:
                parts.append(_text(_LABEL, y + 10, "–"))
            else:
                width = (_WIDTH - _LABEL - _VALUE) * value / largest if largest else 0.0
                colour = _COLOURS[servers.index(server) % len(_COLOURS)]
                parts.append(f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR - 3}" fill="{colour}"/>')
                parts.append(_text(_LABEL + width + 5, y + 10, f"{value:.0f}" if value >= 100 else f"{value:.3g}"))
            y += _BAR
        y += _GAP - _BAR
    style = "text{font:11px sans-serif;fill:#222}.b{font-weight:bold}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, words: str, *, bold: bool = False, right: bool = False) -> str:
    anchor = ' text-anchor="end"' if right else ""
    weight = ' class="b"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}"{anchor}{weight}>{escape(words)}</text>'
