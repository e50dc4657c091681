"""``python -m benchmarks.serving``: our server and its peers, in one run on one machine, and docs/benchmarks.md of it.

What was measured is kept in benchmarks/results/serving.json, and not measured again: stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .document import write_document
from .environments import install, version_of
from .facts import measure_facts
from .measure import cores_in_use
from .peer_servers import PEERS, Setting
from .results import FILE, Results
from .rounds import Plan, closed_loads, measure_rounds, open_loads
from .servers import OURS
from .settings import choose_setting
from .targets import print_targets
from .workloads import MACHINE, ONE_CORE, WORKLOADS, Workload, quick

QUICK_FILE = Path("build") / "serving-quick.json"
IDLE_CORES = 0.15


def main() -> None:
    asked = _arguments()
    results = Results(QUICK_FILE) if asked.quick else Results.read(asked.results or FILE)
    if asked.document:
        write_document(results)
        return
    in_use = cores_in_use(2.0)
    if in_use > IDLE_CORES and not asked.busy:
        raise SystemExit(f"others use {in_use:.1f} cores of this machine: wait until it is quiet, or say --busy")
    names = asked.only or (["no-op", "encoder"] if asked.quick else list(WORKLOADS))
    workloads = [quick(WORKLOADS[name]) if asked.quick else WORKLOADS[name] for name in names]
    wanted = {workload.name: _peers_for(workload, asked) for workload in workloads}
    installed = _installed([peer for peer in asked.peers if any(peer in peers for peers in wanted.values())], results)
    tracks = asked.track or ([ONE_CORE] if asked.quick else [ONE_CORE, MACHINE])
    for workload in workloads:
        servers = [OURS, *(peer for peer in wanted[workload.name] if peer in installed)]
        for track in (track for track in tracks if track in workload.tracks):
            _measure_track(workload, track, servers, asked, results)
    if not asked.quick:
        measure_facts(workloads, results, again=asked.again)
    if results.file == FILE:
        write_document(Results.read(FILE))  # in the order of the file, as whoever writes the page again has it
    print_targets(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    names = ", ".join(WORKLOADS)
    parser.add_argument("--only", action="append", choices=WORKLOADS, metavar="WORKLOAD", help=f"one of {names}")
    parser.add_argument(
        "--peers",
        type=lambda text: [name for name in text.split(",") if name],
        help="as a,b; all if none is named, those that start slowly for some workloads only",
    )
    parser.add_argument("--track", action="append", choices=[ONE_CORE, MACHINE])
    parser.add_argument("--loads", type=lambda text: text.split(","), help="as c1,c32,open50,open80,double")
    parser.add_argument("--rounds", type=int, help="3 unless told, with --quick 1")
    parser.add_argument("--seconds", type=float, help="of each load: 4 unless told, with --quick 1.5")
    parser.add_argument("--quick", action="store_true", help="two workloads in under five minutes; kept apart")
    parser.add_argument("--again", action="store_true", help="measure again, settings too, what was asked for")
    parser.add_argument("--busy", action="store_true", help="measure although others use the machine")
    parser.add_argument("--results", type=Path, help="another file than benchmarks/results/serving.json; no page then")
    parser.add_argument("--document", action="store_true", help="only write docs/benchmarks.md of what there is")
    asked = parser.parse_args()
    asked.peers_named = asked.peers is not None
    if asked.peers is None:
        asked.peers = list(PEERS)
    if unknown := [name for name in asked.peers if name not in PEERS]:
        parser.error(f"there is no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.seconds = asked.seconds or (1.5 if asked.quick else 4.0)
    return asked


def _peers_for(workload: Workload, asked: argparse.Namespace) -> list[str]:
    """Those that start slowly are asked for some workloads only, unless they are named."""
    everybody = workload.everybody or asked.peers_named
    peers = [peer for peer in asked.peers if not PEERS[peer].only or workload.name in PEERS[peer].only]
    return [peer for peer in peers if everybody or not PEERS[peer].starts_slowly]


def _installed(names: Sequence[str], results: Results) -> list[str]:
    found = []
    for name in names:
        reason = install(PEERS[name])
        if reason is None:
            results.facts.setdefault("versions", {})[PEERS[name].environment or name] = version_of(PEERS[name])
            results.refused.pop(name, None)
            found.append(name)
        else:
            results.refused[name] = f"does not install here: {reason}"
    results.write()
    return found


def _measure_track(
    workload: Workload, track: str, servers: list[str], asked: argparse.Namespace, results: Results
) -> None:
    if asked.again:
        for server in servers:
            results.forget(f"{workload.name}/{track}/{server}", asked.loads)
    settings: dict[str, Setting] = {}
    for server in servers:
        setting = _quick_setting(server, workload) if asked.quick else choose_setting(server, workload, track, results)
        if setting is not None:
            settings[server] = setting
    plan = Plan(asked.rounds, asked.seconds, asked.loads)
    measure_rounds(workload, track, settings, dict.fromkeys(settings, closed_loads(workload)), plan, results)
    # On one core the load has a core of its own, so that a latency is the server's alone.
    if workload.open_loop and track == ONE_CORE:
        loads = {server: open_loads(workload.name, track, server, results) for server in settings}
        measure_rounds(workload, track, settings, loads, plan, results)


def _quick_setting(server: str, workload: Workload) -> Setting | None:
    if server != OURS and not PEERS[server].takes(workload):
        return None
    return Setting(1, 1, 1 if server == OURS or not PEERS[server].batches else max(workload.batches))


if __name__ == "__main__":
    main()
