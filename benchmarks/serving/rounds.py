"""The rounds of a workload on a track: every server in turn, under every load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cortex_compile.cli.load import Load

from .measure import measure
from .peer_servers import Setting
from .processes import family, memory_of
from .results import Results
from .servers import OURS, DoesNotServe, running
from .workloads import Workload


@dataclass(frozen=True)
class Plan:
    """How often, how long, and of which loads; None is all."""

    rounds: int
    seconds: float
    only: Sequence[str] | None


def closed_loads(workload: Workload) -> dict[str, Load]:
    return {f"c{clients}": Load(clients=clients) for clients in workload.clients}


def open_loads(workload: str, track: str, server: str, results: Results) -> dict[str, Load]:
    """Half and four fifths of what the slowest good peer answers at most, and twice what this server itself does.

    Good is a peer with at least half the throughput of the best one.
    """
    most = {
        name: max(
            results.median(key, "per_second") or 0.0
            for key in results.cells
            if key.startswith(f"{workload}/{track}/{name}/c")
        )
        for name in {key.split("/")[2] for key in results.cells if key.startswith(f"{workload}/{track}/")}
    }
    peers = [rate for name, rate in most.items() if name != OURS]
    if not peers or server not in most:
        return {}
    slowest = min(rate for rate in peers if rate >= max(peers) / 2)
    rates = results.facts.setdefault("rates", {}).setdefault(f"{workload}/{track}", round(slowest, 1))
    return {
        "open50": Load(rate=0.5 * rates),
        "open80": Load(rate=0.8 * rates),
        "double": Load(rate=round(2 * most[server], 1)),
    }


def measure_rounds(
    workload: Workload,
    track: str,
    settings: dict[str, Setting],
    loads: dict[str, dict[str, Load]],
    plan: Plan,
    results: Results,
) -> None:
    """What is not measured yet, each round in another order, so that no server is always the first."""
    for number in range(plan.rounds):
        turn = number % len(settings) if settings else 0
        for server in [*list(settings)[turn:], *list(settings)[:turn]]:
            key = f"{workload.name}/{track}/{server}"
            left = {
                name: load
                for name, load in loads[server].items()
                if str(number) not in results.cells.get(f"{key}/{name}", {})
                and (plan.only is None or name in plan.only)
            }
            if not left or key in results.refused:
                continue
            try:
                with running(server, workload, settings[server], track) as served:
                    for name, load in left.items():
                        cell = measure(served, load, plan.seconds)
                        results.put_cell(f"{key}/{name}", number, cell)
                        print(
                            f"{time.strftime('%H:%M:%S')} {key}/{name} round {number + 1}: {cell.per_second:.0f}/s, "
                            f"p50 {cell.p50_ms:.2f} ms, p99 {cell.p99_ms:.2f} ms, {cell.cpu_ms:.2f} ms of CPU "
                            f"{cell.failed or ''}",
                            flush=True,
                        )
                    results.put_start(key, number, served.first_answer_s, memory_of(family(served.pid)))
            except DoesNotServe as error:
                print(f"{key}: {error}", flush=True)
                results.refused[key] = str(error)
                results.write()
