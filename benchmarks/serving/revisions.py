"""``python -m benchmarks.serving.revisions REVISION``: this checkout beside an earlier one, in turn on one machine.

Each serves what it compiled itself, alone, and with the same load; what is printed are medians over the rounds, and the
ratios of the same round. The earlier checkout stays in build/revisions, with a cache of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cortex_compile.cache_folder import cache_folder
from cortex_compile.cli.load import Load

from .measure import Cell, measure
from .peer_servers import Setting
from .servers import OURS, cores_of, running
from .workloads import MACHINE, ONE_CORE, WORKLOADS, Workload

_FOLDER = Path("build").absolute() / "revisions"
_FIGURES = {"answers/s": "per_second", "p50 ms": "p50_ms", "p99 ms": "p99_ms", "CPU ms": "cpu_ms"}

Rounds = dict[str, list[Cell]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.revisions", description=__doc__)
    parser.add_argument("revision", help="as git names it")
    parser.add_argument("--only", choices=WORKLOADS, default="encoder", metavar="WORKLOAD")
    parser.add_argument("--track", choices=[ONE_CORE, MACHINE], default=ONE_CORE)
    parser.add_argument("--clients", type=int, nargs="+", help="those of the workload unless told")
    parser.add_argument("--rates", type=float, nargs="+", default=[], help="also at random, so many a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    workload = WORKLOADS[asked.only]
    loads = {f"{clients} clients": Load(clients=clients) for clients in asked.clients or workload.clients}
    loads |= {f"{rate:g} a second": Load(rate=rate) for rate in asked.rates}
    trees: list[Path | None] = [_check_out(asked.revision), None]
    found: list[Rounds] = [{name: [] for name in loads} for _ in trees]
    for number in range(asked.rounds):
        for tree, cells in list(zip(trees, found, strict=True))[:: -1 if number % 2 else 1]:
            _measure(tree, workload, asked.track, loads, asked.seconds, cells)
    for name in loads:
        print(f"{workload.name}, {asked.track}, {name}:")
        for told, figure in _FIGURES.items():
            then, now = ([getattr(cell, figure) for cell in cells[name]] for cells in found)
            ratio = statistics.median(after / before for before, after in zip(then, now, strict=True))
            print(f"  {told:10} {statistics.median(then):8.4g} then, {statistics.median(now):8.4g} now, {ratio:.2f}×")


def _check_out(revision: str) -> Path:
    named = subprocess.run(["git", "rev-parse", "--short", revision], check=True, capture_output=True, text=True)
    tree = _FOLDER / named.stdout.strip()
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), revision], check=True, capture_output=True)
        subprocess.run(["sh", "scripts/link_tree"], check=True, cwd=tree)
        (tree / "build" / "cache").mkdir()
        (tree / "build" / "cache" / "tritonserver").symlink_to(cache_folder() / "tritonserver")
    return tree


def _measure(
    tree: Path | None, workload: Workload, track: str, loads: dict[str, Load], seconds: float, cells: Rounds
) -> None:
    setting = Setting(1, len(cores_of(track)), 1)
    with _in_use(tree), running(OURS, workload, setting, track) as served:
        for name, load in loads.items():
            cells[name].append(measure(served, load, seconds))


@contextlib.contextmanager
def _in_use(tree: Path | None) -> Iterator[None]:
    """Python finds that checkout's package first, and it keeps what it makes there; None: this one's."""
    if tree is None:
        yield
        return
    kept = dict(os.environ)
    os.environ |= {"PYTHONPATH": str(tree / "build" / "typed"), "CORTEX_COMPILE_CACHE": str(tree / "build" / "cache")}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


if __name__ == "__main__":
    main()
