"""What we want to be, against what was measured: met or not, and by how much. Pure functions of the results."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import ENGINE_ROWS
from .peer_servers import PLAIN
from .results import Results
from .servers import OURS
from .workloads import MACHINE, ONE_CORE

_IMPORTS_MIB, _SERVER_MIB = 320, 150
_START_S = 2.0


@dataclass(frozen=True)
class Target:
    """``found`` is None where it was not measured. ``at_least`` says on which side of ``wanted`` is good."""

    name: str
    wanted: float
    found: float | None
    unit: str
    at_least: bool
    against: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.found is None or not self.wanted:
            return None
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    @property
    def margin(self) -> str:
        """By how much it is met or missed, of what was wanted."""
        if self.is_met is None or self.found is None:
            return ""
        share = self.found / self.wanted - 1
        return f"{100 * abs(share):.0f} % {'better' if self.is_met else 'short'}" if abs(share) >= 0.005 else "just"


def targets(results: Results) -> list[Target]:
    return [
        _against_best(results, "encoder", ONE_CORE, "c1", 1.5),
        _against_best(results, "encoder", ONE_CORE, "c8", 1.1),
        _against_best(results, "encoder", ONE_CORE, "c32", 1.1),
        _against_best(results, "encoder", MACHINE, "c32", 1.1),
        _of_the_engine(results),
        _against_best(results, "mixed", MACHINE, "c32", 1.5),
        _against_best(results, "image", MACHINE, "c8", 2.0),
        _against_best(results, "summarizer", MACHINE, "c8", 1.6),
        _figure(results, "no-op: CPU of a request, 32 clients", f"no-op/{ONE_CORE}/{OURS}/c32", "cpu_ms", 0.5),
        _figure(results, "no-op: p50, 1 client", f"no-op/{ONE_CORE}/{OURS}/c1", "p50_ms", 1.2),
        *(_tail(results, load) for load in ("c1", "c32")),
        _memory(results),
        _start(results),
        _scaling(results),
    ]


def best_peer(results: Results, workload: str, track: str, load: str) -> str | None:
    """The one that answers most, of those that were measured beside ours."""
    ours = f"{workload}/{track}/{OURS}/{load}"
    peers = [
        server
        for server in results.servers(workload, track, load)
        if server != OURS and results.ratio(ours, f"{workload}/{track}/{server}/{load}", "per_second") is not None
    ]
    return max(
        peers,
        key=lambda server: results.median(f"{workload}/{track}/{server}/{load}", "per_second") or 0.0,
        default=None,
    )


def _against_best(results: Results, workload: str, track: str, load: str, wanted: float) -> Target:
    peer = best_peer(results, workload, track, load)
    place = f"{workload}/{track}"
    ratio = results.ratio(f"{place}/{OURS}/{load}", f"{place}/{peer}/{load}", "per_second") if peer else None
    name = f"{workload}: throughput, {clients(load)}, {track_name(track)}"
    return Target(name, wanted, ratio, "× the best peer", True, peer or "")


def _of_the_engine(results: Results) -> Target:
    served = results.median(f"encoder/{ONE_CORE}/{OURS}/c{ENGINE_ROWS}", "per_second")
    engine = results.facts.get("engine_per_second")
    share = served / engine if served and engine else None
    name = f"encoder: throughput, {ENGINE_ROWS} clients, one core"
    return Target(name, 0.95, share, f"of the engine in a loop, {ENGINE_ROWS} texts a call", True)


def _figure(results: Results, name: str, key: str, figure: str, wanted: float) -> Target:
    return Target(name, wanted, results.median(key, figure), "ms", False)


def _tail(results: Results, load: str) -> Target:
    place = f"no-op/{ONE_CORE}"
    ratio = results.ratio(f"{place}/{OURS}/{load}", f"{place}/{PLAIN}/{load}", "p99_ms")
    return Target(f"no-op: p99, {clients(load)}", 2.0, ratio, "× plain FastAPI's", False)


def _memory(results: Results) -> Target:
    """One process of the encoder's imports torch; the weights count once."""
    weights = results.facts.get("weights_mib", {}).get("encoder")
    used = results.median(f"encoder/{ONE_CORE}/{OURS}", "private_mib")
    allowed = weights + _IMPORTS_MIB + _SERVER_MIB if weights else 0.0
    return Target("encoder: private memory of all processes", allowed, used, "MiB", False)


def _start(results: Results) -> Target:
    alone = results.facts.get("predictor_load_s", {}).get("encoder")
    took = results.median(f"encoder/{MACHINE}/{OURS}", "first_answer_s")
    return Target("encoder: serve to first right answer", alone + _START_S if alone else 0.0, took, "s", False)


def _scaling(results: Results) -> Target:
    one, all_cores = (results.median(f"encoder/{track}/{OURS}/c32", "per_second") for track in (ONE_CORE, MACHINE))
    ratio = all_cores / one if one and all_cores else None
    return Target("encoder: throughput of the machine, 32 clients", 1.6, ratio, "× one core's", True)


def clients(load: str) -> str:
    if load.startswith("c"):
        return f"{load[1:]} client{'s' * (load != 'c1')}"
    return {"open50": "half of the slowest", "open80": "80 % of the slowest", "double": "twice the maximum"}[load]


def track_name(track: str) -> str:
    return {ONE_CORE: "one core", MACHINE: "whole machine"}[track]


def told(target: Target) -> tuple[str, str, str, str]:
    """Name, what is wanted, what was found, and whether that is met."""
    sign = "≥" if target.at_least else "≤"
    found = "not measured" if target.found is None else f"{target.found:.3g}"
    if target.against:
        found += f" ({target.against})"
    met = {None: "", True: "met", False: "**not met**"}[target.is_met]
    margin = f", {target.margin}" if target.margin else ""
    wanted = f"{sign} {target.wanted:.3g} {target.unit}" if target.wanted else "what it rests on is not measured"
    return target.name, wanted, found, f"{met}{margin}"


def print_targets(results: Results) -> None:
    for name, wanted, found, met in map(told, targets(results)):
        print(f"{name:58}{wanted:34}{found:26}{met.replace('*', '')}")
