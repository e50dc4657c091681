"""``cortex-compile inspect BUILD``: check a build, and show its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.box import Box
    from rich.console import Console
    from rich.padding import Padding

    from cortex_compile.compiler.artifacts import Attempt, ModuleReport, Report, SizeCurve

__all__ = ["inspect_command"]


@click.command("inspect", short_help="Show what compiling a build found and decided.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def inspect_command(build: Path, as_json: bool) -> None:
    """Check a build and show what was compiled, how fast it is, and why.

    Every file is compared with its sha256. The same report stands in BUILD/report.html, for a browser.
    """
    from cortex_compile.compiler.report import read_report
    from cortex_compile.python_backend.manifest import check_build

    check_build(build)
    report = read_report(build)
    if as_json:
        click.echo((build / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print_report(report, build)


def _print_report(report: Report, build: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    from cortex_compile.cli.tune_table import trials_table
    from cortex_compile.compiler import report_words
    from cortex_compile.compiler.tune_words import tuning_in_words

    # Into a pipe: no colours (rich sees to that), and nothing folded where a program looks for it.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    console.print(Text(report.name, style="bold"))
    console.print(Text(report_words.headline_of(report)))
    for notice in report.notices:
        console.print(Text(f"! {notice}", style="yellow"))
    if report.samples:
        _print_samples(report, console)
    if report.memory is not None:
        before, after = (
            report_words.milliseconds(mib) for mib in (report.memory.eager_mib, report.memory.compiled_mib)
        )
        console.print(Text(f"\nMemory of one process: {before} MiB before, {after} MiB after."))
        if report.memory.eager_own_mib is not None and report.memory.compiled_own_mib is not None:
            own = [
                report_words.milliseconds(mib) for mib in (report.memory.eager_own_mib, report.memory.compiled_own_mib)
            ]
            console.print(Text(f"Of it shared with no other process: {own[0]} MiB before, {own[1]} MiB after."))
    if report.peak_mib:
        console.print(Text(f"Compiling took {report_words.peaks_in_words(report)}."))
    if report_words.dispatch_in_words(report):
        console.print(Text(report_words.dispatch_in_words(report)))
    for module in report.modules:
        _print_module(module, console)
    if report.tuning is not None:
        console.print(Text(f"\n{tuning_in_words(report.tuning)}"))
        console.print(trials_table(report.tuning))
    console.print(Text(f"\nMore: {build / 'report.html'}", style="dim"))


def _print_samples(report: Report, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from cortex_compile.compiler.report_words import milliseconds, speedup_in_words

    table = Table(title="The whole predictor", title_justify="left", title_style="", box=_box(), pad_edge=False)
    table.add_column("sample", overflow="fold")
    for heading in ("status", "before ms", "after ms", "speed-up"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    for sample in report.samples:
        table.add_row(
            Text(sample.name),
            str(sample.status_code),
            milliseconds(sample.eager_p50_ms),
            milliseconds(sample.compiled_p50_ms),
            Text(speedup_in_words(sample.speedup), style="green" if sample.speedup >= 1 else "yellow"),
            Text("equal") if sample.answers_equal else Text("differs", style="bold red"),
        )
    console.print()
    console.print(table)


def _print_module(module: ModuleReport, console: Console) -> None:
    from rich.text import Text

    from cortex_compile.compiler import report_words

    precision = f", {module.precision}" if module.precision != "fp32" else ""
    where = f"{module.engine}{precision}, {module.placement}" if module.engine != "eager" else module.engine
    console.print()
    console.print(Text.assemble((module.path, "bold"), f"  [{where}]"))
    size = f"{report_words.count_in_words(module.parameters)} parameters"
    console.print(Text(f"{module.class_name}, {size}, called {module.calls}× from {module.called_from}", style="dim"))
    console.print(Text(module.decision))
    for line in module.on_gpu:
        console.print(Text(line, style="dim"))
    if report_words.stored_in_words(module):
        console.print(Text(report_words.stored_in_words(module), style="dim"))
    for signature in module.signatures:
        for attempt in signature.attempts:
            outcome = report_words.outcome_of(attempt) + (f": {attempt.reason}" if attempt.reason else "")
            style = "green" if attempt.refused_at is None else "yellow"
            console.print(Text.assemble(f"  {signature.variant} on {attempt.label} ", (outcome, style)))
            if attempt.measurements:
                console.print(_measurements_table(attempt))
            for curve in attempt.curves:
                console.print(_curve_table(curve))
            if attempt.verdict is not None and attempt.verdict.worst is not None:
                worst = report_words.difference_in_words(attempt.verdict.worst)
                console.print(Text(f"    worst element {worst}", style="dim"))
            if report_words.proof_in_words(attempt):
                console.print(Text(f"    {report_words.proof_in_words(attempt)}", style="dim"))
            for line in report_words.bounds_in_words(attempt):
                console.print(Text(f"    {line}", style="dim"))


def _measurements_table(attempt: Attempt) -> Padding:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from cortex_compile.compiler.report_words import milliseconds, speedup_in_words

    table = Table(box=_box(), pad_edge=False)
    table.add_column("inputs", overflow="fold")
    for heading in ("before ms", "after ms", "speed-up"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in attempt.measurements:
        before, after = milliseconds(item.eager_p50_ms), milliseconds(item.compiled_p50_ms)
        table.add_row(Text(item.inputs), before, after, speedup_in_words(item.speedup))
    return Padding(table, (0, 0, 0, 4), expand=False)


def _curve_table(curve: SizeCurve) -> Padding:
    from rich.padding import Padding
    from rich.table import Table

    from cortex_compile.compiler.report_words import milliseconds, speedup_in_words

    table = Table(box=_box(), pad_edge=False)
    for heading in (f"by {curve.dimension}", "before ms", "after ms", "speed-up"):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in curve.points:
        speedup = speedup_in_words(point.eager_ms / point.compiled_ms)
        table.add_row(str(point.size), milliseconds(point.eager_ms), milliseconds(point.compiled_ms), speedup)
    return Padding(table, (0, 0, 0, 4), expand=False)


def _box() -> Box:
    from rich import box

    return box.SIMPLE_HEAD
