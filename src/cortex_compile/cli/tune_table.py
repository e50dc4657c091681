"""What `tune` prints: a line as each trial ends, and in the end all of them as a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortex_compile.compiler.tune_record import TuneTrial, Tuning

__all__ = ["TrialLines", "print_tuning", "trials_table"]


class TrialLines:
    """``tell`` prints a trial on stderr, with its place among those that are planned."""

    def __init__(self, planned: int, objective: str) -> None:
        from rich.console import Console

        self._planned = planned
        self._told = 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._console.print(f"{planned} ways to serve it are tried for {objective}")

    def tell(self, trial: TuneTrial) -> None:
        from rich.markup import escape

        from cortex_compile.compiler.tune_words import configuration_in_words, trial_in_words

        self._told += 1
        # Those that are near the best come once more.
        place = f"{self._told}/{self._planned}" if self._told <= self._planned else "again"
        words = escape(configuration_in_words(trial.configuration))
        self._console.print(f"  {place:>6}  [bold]{words}[/]: {escape(trial_in_words(trial))}")


def print_tuning(tuning: Tuning, build: Path, *, dry_run: bool) -> None:
    from rich.console import Console

    from cortex_compile.compiler.tune_words import tuning_in_words

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(trials_table(tuning))
    console.print(tuning_in_words(tuning), soft_wrap=True)
    console.print(f"{build}: {'left as it was (--dry-run)' if dry_run else 'is served so from now on'}", soft_wrap=True)


def trials_table(tuning: Tuning) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from cortex_compile.compiler.report_words import milliseconds
    from cortex_compile.compiler.tune_words import best_first, configuration_in_words

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("configuration", overflow="fold")
    for title in ("answers/s", "p50, ms", "p99, ms"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    winner = tuning.trials[tuning.winner]
    for trial in best_first(tuning):
        note = "chosen" if trial is winner else trial.reason
        figures = (f"{trial.per_second:.1f}", milliseconds(trial.p50_ms), milliseconds(trial.p99_ms))
        cells = figures if trial.windows else ("", "", "")
        style = "bold" if trial is winner else "dim" if trial.outcome == "refused" else ""
        table.add_row(Text(configuration_in_words(trial.configuration), style=style), *cells, Text(note))
    return table
