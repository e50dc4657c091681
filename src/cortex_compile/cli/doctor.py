"""``cortex-compile doctor``: can this machine compile and serve, shown by doing it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

import click

from cortex_compile.launchers.checks import Check, port_checks, server_checks

if TYPE_CHECKING:
    from cortex_compile.backends.protocol import Engine

_PYTHONS = ((3, 11), (3, 13))
_STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check what this machine can compile and serve with. Exit code 1 when a check fails."""
    from cortex_compile.backends.registry import all_engines

    rows = [check_python(), check_numpy(), check_torch(), *engine_checks(all_engines()), check_onnxruntime_packages()]
    rows += [*server_checks(), *port_checks()]
    if as_json:
        _print_json(rows)
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        _print_lines(rows)
    if any(row.status == "FAIL" for row in rows):
        context.exit(1)


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    oldest, newest = (".".join(map(str, end)) for end in _PYTHONS)
    found = f"{'.'.join(map(str, version))} in {sys.prefix}"
    if _PYTHONS[0] <= version <= _PYTHONS[1]:
        return Check("Python", "PASS", found)
    return Check("Python", "FAIL", found, f"use Python {oldest} to {newest}")


def check_numpy() -> Check:
    try:
        import numpy as np
    except ImportError as error:
        return Check("numpy", "FAIL", str(error), "pip install 'numpy>=1.26'")
    return Check("numpy", "PASS", np.__version__)


def check_torch() -> Check:
    try:
        import torch
    except ImportError as error:
        remedy = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        return Check("torch", "FAIL", f"{error}; nothing can be compiled", remedy)
    if torch.cuda.is_available():
        return Check("torch", "PASS", f"{torch.__version__}, CUDA on {torch.cuda.get_device_name()}")
    return Check("torch", "PASS", f"{torch.__version__}, CPU")


def engine_checks(engines: Sequence[Engine]) -> list[Check]:
    """Each engine runs a small model. One may be missing as long as another compiles; eager may not."""
    from cortex_compile.backends.protocol import Available

    found = {engine.name: engine.availability() for engine in engines}
    compiles = any(isinstance(answer, Available) for name, answer in found.items() if name != "eager")
    rows = []
    for name, answer in found.items():
        if isinstance(answer, Available):
            rows.append(Check(f"engine {name}", "PASS", f"{answer.version} ran a small model"))
        else:
            may_be_missing = compiles and name != "eager"
            rows.append(Check(f"engine {name}", "WARN" if may_be_missing else "FAIL", answer.reason, answer.remedy))
    return rows


def check_onnxruntime_packages() -> Check:
    """The two packages write the same files: with both installed, which one runs is chance."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(found) < 2:
        return Check("onnxruntime packages", "PASS", " ".join(found) or "none")
    remedy = "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that fits"
    return Check("onnxruntime packages", "FAIL", f"{' and '.join(found)} overwrite each other's files", remedy)


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _print_json(rows: Sequence[Check]) -> None:
    import json
    from dataclasses import asdict

    click.echo(json.dumps([asdict(row) for row in rows], indent=2))


def _print_lines(rows: Sequence[Check]) -> None:
    for row in rows:
        click.echo(f"{row.status}  {row.name}: {row.found}")
        if row.remedy:
            click.echo(f"      remedy: {row.remedy}")


def _print_table(rows: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    found, remedy = (Column(title, overflow="fold") for title in ("found", "remedy"))
    table = Table("", Column("check", no_wrap=True), found, remedy, box=None, pad_edge=False)
    for row in rows:
        # Text, since square brackets in a message are not markup.
        table.add_row(Text(row.status, _STYLES[row.status]), Text(row.name), Text(row.found), Text(row.remedy))
    Console().print(table)
