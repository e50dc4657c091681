"""`cortex-compile bench`: how fast a build or a URL answers its samples, and how much faster than uncompiled."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from cortex_compile.cli.bench_table import Row, print_rows, row_as_json
from cortex_compile.cli.client_key import api_key_option, key_headers
from cortex_compile.cli.load import Load, Outcome, Shot, run_load
from cortex_compile.cli.predict import read_shot
from cortex_compile.errors import ServiceError, UsageError

__all__ = ["bench", "shots_of"]

_WARM_UP_S = 1.0


@click.command(short_help="Measure a build or a URL under load.")
@click.argument("target", metavar="BUILD|URL")
@click.option("--sample", "samples", multiple=True, metavar="FILE[?QUERY]", help="What to ask; may repeat.")
@click.option("--clients", "clients", multiple=True, type=click.IntRange(1, 4096), help="Closed loop; may repeat.")
@click.option("--rate", "rates", multiple=True, type=click.FloatRange(0.01), help="Requests a second; may repeat.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Of each round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, type=click.FloatRange(0.01), help="In seconds."
)
@click.option("--baseline", is_flag=True, help="Also serve the build uncompiled, in turn, and compare.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@api_key_option
def bench(
    target: str,
    samples: tuple[str, ...],
    clients: tuple[int, ...],
    rates: tuple[float, ...],
    seconds: float,
    rounds: int,
    timeout_s: float,
    baseline: bool,
    as_json: bool,
    api_key_file: Path | None,
) -> None:
    """Measure a build or a URL under load.

    A build is served on free ports meanwhile, and asked with the samples that it was compiled with; a URL needs
    --sample. With --clients each client asks again when it is answered (default: 1 and 8); with --rate requests come
    at random at that rate, and waiting counts.
    """
    loads = [Load(clients=number) for number in clients] + [Load(rate=rate) for rate in rates]
    loads = loads or [Load(clients=1), Load(clients=8)]
    given = [read_shot(sample) for sample in samples]
    is_url = target.startswith(("http://", "https://"))
    if is_url and not given:
        raise UsageError(f"{target}: what to ask is not known; name a file with --sample, as in --sample sample.json")
    if is_url and baseline:
        raise UsageError("--baseline needs a build: what a URL would answer uncompiled cannot be known")
    if api_key_file is not None and not is_url:
        raise UsageError("--api-key-file is for a URL: a build is served here, and needs no key")
    key = key_headers(api_key_file) if is_url else {}
    with contextlib.ExitStack() as stack:
        if is_url:
            servers, shots = {"": target}, given
        else:
            servers = stack.enter_context(_served(Path(target), baseline))
            shots = given or shots_of(Path(target))
        rows = _measure(servers, shots, loads, seconds, rounds, timeout_s, key)
    if as_json:
        click.echo(json.dumps({"target": target, "rows": [row_as_json(row) for row in rows]}, indent=2))
    else:
        print_rows(rows)
    if not any(row.outcome.latencies_ms for row in rows):
        raise ServiceError(f"{target}: no request was answered well; `cortex-compile predict` shows an answer")


def _measure(
    servers: dict[str, str],
    shots: Sequence[Shot],
    loads: Sequence[Load],
    seconds: float,
    rounds: int,
    timeout_s: float,
    key: Mapping[str, str],
) -> list[Row]:
    """In rounds, the servers in turn and in turned order, so that what disturbs one disturbs the other."""
    rows = {(name, load): Row(name, load, Outcome()) for load in loads for name in servers}
    for url in servers.values():
        run_load(url, shots, Load(clients=1), _WARM_UP_S, timeout_s, headers=key)
    for load in loads:
        for number in range(rounds):
            for name in list(servers)[:: -1 if number % 2 else 1]:
                click.echo(f"{load}, round {number + 1} of {rounds} {name}".rstrip(), err=True)
                rows[name, load].add(run_load(servers[name], shots, load, seconds, timeout_s, headers=key))
    return list(rows.values())


@contextlib.contextmanager
def _served(build: Path, baseline: bool) -> Iterator[dict[str, str]]:
    """The URLs by what is served there: the build, and with ``baseline`` the same predictor uncompiled."""
    from cortex_compile.cli.serve_child import serving
    from cortex_compile.compiler.plain_build import write_plain_build
    from cortex_compile.python_backend.manifest import check_build

    manifest = check_build(build)
    if baseline and not manifest.cores:
        raise UsageError(f"{build}: nothing in it is compiled, so there is nothing to compare with --baseline")
    with contextlib.ExitStack() as stack:
        servers = {"compiled" if baseline else "": stack.enter_context(serving(build, manifest.name))}
        if baseline:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cortex-compile-")))
            os.chmod(folder, 0o755)  # noqa: S103  # for the user of a container; only its owner writes
            write_plain_build(build, folder / "plain")
            servers["plain"] = stack.enter_context(serving(folder / "plain", manifest.name))
        yield servers


def shots_of(build: Path) -> list[Shot]:
    """The samples that a build was compiled with.

    Raises:
        UsageError: its project holds none.
    """
    from cortex_compile.cli.example_request import samples_of
    from cortex_compile.python_backend.manifest import read_manifest

    found = samples_of(build, read_manifest(build / "manifest.json").name)
    if not found:
        raise UsageError(f"{build}: its project holds no sample to ask with; name a file with --sample")
    return [Shot(sample.path.read_bytes(), sample.content_type, sample.query) for sample in found]
