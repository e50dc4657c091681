"""The figures of `bench`: a table, ratios, and the latencies as bars."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cortex_compile.cli.load import Load, Outcome, percentile_ms

__all__ = ["Row", "print_rows", "row_as_json"]

_SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_WIDEST_BAR = 50
# Bars a factor of ten.
_STEPS = 6


@dataclass
class Row:
    """One server under one load; ``rounds`` are requests a second, one by one, to see how much they scatter."""

    server: str
    load: Load
    outcome: Outcome
    rounds: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.outcome.add(outcome)
        self.rounds.append(outcome.per_second)


def row_as_json(row: Row) -> dict[str, Any]:
    outcome = row.outcome
    return {
        "server": row.server or None,
        "clients": row.load.clients if row.load.rate is None else None,
        "rate": row.load.rate,
        "per_second": round(outcome.per_second, 2),
        "per_second_of_rounds": [round(value, 2) for value in row.rounds],
        "latency_ms": {
            name: round(percentile_ms(outcome, share), 3) if outcome.latencies_ms else None
            for name, share in (*_SHARES.items(), ("max", 1.0))
        },
        "answered": len(outcome.latencies_ms),
        "failed": outcome.failed,
        "seconds": round(outcome.seconds, 2),
    }


def print_rows(rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    several = len({row.server for row in rows}) > 1
    table = Table(box=SIMPLE_HEAD)
    table.add_column("load")
    if several:
        table.add_column("server")
    for title in ("answers/s", "p50, ms", "p90, ms", "p99, ms", "max, ms", "failed"):
        table.add_column(title, justify="right")
    for row in rows:
        outcome = row.outcome
        latencies = [f"{percentile_ms(outcome, share):.2f}" for share in (*_SHARES.values(), 1.0)]
        failed = ", ".join(f"{count} × {reason}" for reason, count in outcome.failed.items())
        cells = [str(row.load), *([row.server] if several else []), f"{outcome.per_second:.1f}", *latencies]
        table.add_row(*cells, failed or "0")
    console.print(table)
    if several:
        _print_ratios(console, rows)
    for row in rows:
        _print_bars(console, row)


def _print_ratios(console: Any, rows: Sequence[Row]) -> None:
    by_load: dict[Load, dict[str, Row]] = {}
    for row in rows:
        by_load.setdefault(row.load, {})[row.server] = row
    for load, pair in by_load.items():
        compiled, plain = pair["compiled"], pair["plain"]
        pairs = [mine / other for mine, other in zip(compiled.rounds, plain.rounds, strict=True) if other]
        if not pairs or not compiled.outcome.latencies_ms:
            continue
        faster = statistics.median(pairs)
        scatter = f"{min(pairs):.2f} to {max(pairs):.2f}× in the rounds"
        halves = [f"{percentile_ms(row.outcome, 0.5):.2f}" for row in (plain, compiled)]
        console.print(
            f"  {load}: compiled gives [bold]{faster:.2f}×[/] the answers a second ({scatter}), "
            f"p50 {halves[0]} → {halves[1]} ms"
        )


def _print_bars(console: Any, row: Row) -> None:
    """How many answers took how long; each bar spans a sixth of a factor of ten."""
    counts: dict[int, int] = {}
    for latency in row.outcome.latencies_ms:
        step = math.floor(math.log10(max(latency, 1e-3)) * _STEPS)
        counts[step] = counts.get(step, 0) + 1
    if not counts:
        return
    console.print(f"\n[bold]{row.load}[/] {row.server}".rstrip())
    for step in range(min(counts), max(counts) + 1):
        count = counts.get(step, 0)
        bar = "█" * math.ceil(_WIDEST_BAR * count / max(counts.values()))
        console.print(f"  ≤ {10 ** ((step + 1) / _STEPS):9.2f} ms  {bar} {count}")
