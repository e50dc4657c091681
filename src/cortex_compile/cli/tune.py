"""`cortex-compile tune`: find the fastest way to serve a build on this machine, by trials under load."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cortex_compile.cli.bench import shots_of
from cortex_compile.cli.predict import read_shot
from cortex_compile.cli.tune_table import TrialLines, print_tuning
from cortex_compile.errors import UsageError

if TYPE_CHECKING:
    from cortex_compile.cli.load import Shot
    from cortex_compile.compiler.tune_record import Tuning

__all__ = ["tune", "tune_build"]

_CLIENTS = {"latency": 1, "throughput": 32}


@click.command(short_help="Find the fastest way to serve a build, by trials.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--objective", type=click.Choice(["latency", "throughput"]), help="Default: what the build says.")
@click.option("--latency-limit-ms", type=click.FloatRange(0.01), help="99 of 100 answers have to be quicker.")
@click.option("--clients", type=click.IntRange(1, 4096), help="Default: 1 for latency, 32 for throughput.")
@click.option("--sample", "samples", multiple=True, metavar="FILE[?QUERY]", help="What to ask; may repeat.")
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Of each window of load.")
@click.option("--windows", default=8, show_default=True, type=click.IntRange(3, 1000), help="Of a trial, at most.")
@click.option("--try-all", is_flag=True, help="Stop no trial early.")
@click.option("--dry-run", is_flag=True, help="Measure, and leave the build as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the trials as one JSON object.")
def tune(
    build: Path,
    objective: Literal["latency", "throughput"] | None,
    latency_limit_ms: float | None,
    clients: int | None,
    samples: tuple[str, ...],
    seconds: float,
    windows: int,
    try_all: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find the fastest way to serve a build on this machine, by trials.

    Tries where compiled modules run, how many processes, instances and threads, how requests are dispatched, and the
    size of batches; each under load, and none that answers otherwise. The winner is written into the build. What
    cortex.yaml says of placement, processes_per_replica and threads_per_process is kept.
    """
    # Ended politely, it stops the server of its trial and leaves nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given = [read_shot(sample) for sample in samples]
    tuning = tune_build(
        build,
        objective=objective,
        latency_limit_ms=latency_limit_ms,
        clients=clients,
        shots=given,
        window_s=seconds,
        windows=windows,
        try_all=try_all,
        dry_run=dry_run,
    )
    if as_json:
        from cortex_compile.python_backend.records import to_json

        click.echo(json.dumps(to_json(tuning), indent=2))
    else:
        print_tuning(tuning, build, dry_run=dry_run)


def tune_build(
    build: Path,
    *,
    objective: Literal["latency", "throughput"] | None = None,
    latency_limit_ms: float | None = None,
    clients: int | None = None,
    shots: list[Shot] | None = None,
    window_s: float = 1.0,
    windows: int = 8,
    try_all: bool = False,
    dry_run: bool = False,
) -> Tuning:
    """Make the trials, telling each on stderr, and write the winner and the table into the build.

    Raises:
        UsageError: nothing in the build is compiled, or there is nothing to ask it with.
        ServiceError: every configuration was refused; the first reason is named.
    """
    from cortex_compile.cli.tune_trials import Trials
    from cortex_compile.compiler.publish_build import work_folder
    from cortex_compile.compiler.tolerances import Tolerance
    from cortex_compile.compiler.tune_record import Tuning
    from cortex_compile.compiler.tune_search import SearchRules, search, winner_of
    from cortex_compile.compiler.tune_space import configurations_for
    from cortex_compile.errors import ServiceError
    from cortex_compile.python_backend.manifest import check_build

    started = time.monotonic()
    build = build.absolute()
    manifest = check_build(build)
    if not manifest.cores:
        raise UsageError(f"{build}: nothing in it is compiled, so there is nothing to choose between")
    objective = objective or manifest.tuning.objective
    clients = clients or _CLIENTS[objective]
    latency_limit_ms = latency_limit_ms or manifest.tuning.latency_limit_ms
    tolerance = Tolerance(manifest.tuning.absolute_tolerance, manifest.tuning.relative_tolerance)
    configurations = configurations_for(manifest, len(os.sched_getaffinity(0)))
    lines = TrialLines(len(configurations), objective)
    with work_folder(build) as work:
        trials = Trials(build, manifest.name, shots or shots_of(build), tolerance, clients, window_s, work)
        rules = SearchRules(objective, latency_limit_ms, windows, try_all)
        found = search(configurations, trials.measure, rules, lines.tell)
        place = winner_of(found)
        if place is None:
            raise ServiceError(f"{build}: no configuration is left; the first one: {found[0].reason}")
        seconds = round(time.monotonic() - started, 1)
        tuning = Tuning(objective, clients, latency_limit_ms, try_all, seconds, found, place)
        if not dry_run:
            _write(build, work, tuning)
    return tuning


def _write(build: Path, work: Path, tuning: Tuning) -> None:
    """Into the build, whole or not at all; a compile that finds nothing changed leaves it as it is then."""
    from dataclasses import replace

    from cortex_compile.compiler.earlier_build import keep_remembering
    from cortex_compile.compiler.publish_build import publish
    from cortex_compile.compiler.reconfigure_build import reconfigure_build
    from cortex_compile.compiler.report import read_report, write_report
    from cortex_compile.python_backend.manifest import sha256_of

    before = sha256_of(build / "manifest.json")
    tuned = work / "tuned"
    manifest = reconfigure_build(build, tuned, tuning.trials[tuning.winner].configuration)
    write_report(replace(read_report(build), tuning=tuning, dispatch=manifest.dispatch), tuned)
    publish(tuned, build)
    keep_remembering(build, before)
