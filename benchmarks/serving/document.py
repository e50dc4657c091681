"""docs/benchmarks.md: the figures between its two marks are made of the results, and the rest is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .plots import Group, bar_chart
from .results import Results
from .servers import OURS
from .targets import best_peer, clients, targets, told, track_name
from .workloads import ONE_CORE, WORKLOADS, Workload

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "benchmarks.md"
PLOTS = DOCS / "benchmarks"
BEGIN, END = "<!-- figures: made by python -m benchmarks.serving -->", "<!-- end of figures -->"

_FIGURES = {
    "per_second": "answers a second",
    "p50_ms": "p50 in ms",
    "p99_ms": "p99 in ms",
    "cpu_ms": "CPU of an answer in ms, all processes",
    "private_mib": "private memory in MiB, all processes",
    "first_answer_s": "seconds to the first right answer",
}

Plots = dict[str, str]


def write_document(results: Results) -> None:
    text, plots = figures(results)
    before, rest = FILE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PLOTS.mkdir(exist_ok=True)
    for old in PLOTS.glob("*.svg"):
        if old.name not in plots:
            old.unlink()
    for name, picture in plots.items():
        (PLOTS / name).write_text(picture)
    FILE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def figures(results: Results) -> tuple[str, Plots]:
    """The generated part, and the pictures that it shows, by file name."""
    plots: Plots = {}
    lines = [*_machine(results), "", *_targets(results), "", *_where_peers_win(results)]
    for workload in WORKLOADS.values():
        for track in workload.tracks:
            if any(results.servers(workload.name, track, load) for load in _loads(workload, track)):
                lines += ["", *_section(workload, track, results, plots)]
    lines += ["", *_idle(results)]
    return "\n".join(lines).strip(), plots


def _machine(results: Results) -> Iterator[str]:
    facts = results.facts.get("machine", {})
    versions = {
        **{name: facts[name] for name in facts if name not in ("cores", "processor")},
        **results.facts.get("versions", {}),
    }
    rounds = max((len(each) for each in results.cells.values()), default=0)
    if not rounds:
        yield "Nothing was measured yet."
        return
    yield (
        f"{facts.get('cores', '?')} cores of {facts.get('processor', '?')}; "
        + ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
        + f". Up to {rounds} rounds; figures are medians over the rounds, ratios are of the same round."
    )
    others = [each["others"] for rounds in results.cells.values() for each in rounds.values()]
    if others and max(others) > 0.2:
        busy = sum(value > 0.2 for value in others)
        yield (
            f"**Other work used more than 0.2 cores of the machine during {busy} of {len(others)} measurements** "
            f"(up to {max(others):.1f} cores): these figures are rough."
        )


def _targets(results: Results) -> Iterator[str]:
    yield "## What we want to be"
    yield ""
    yield "| | wanted | found | |"
    yield "|---|---|---|---|"
    for row in map(told, targets(results)):
        yield f"| {' | '.join(row)} |"


def _where_peers_win(results: Results) -> Iterator[str]:
    yield "## Where a peer wins"
    yield ""
    lost = []
    for workload in WORKLOADS.values():
        for track in workload.tracks:
            for load in _loads(workload, track):
                peer = best_peer(results, workload.name, track, load)
                place = f"{workload.name}/{track}"
                if peer is None or load.startswith("open"):
                    continue
                ratio = results.ratio(f"{place}/{OURS}/{load}", f"{place}/{peer}/{load}", "per_second")
                if ratio is not None and ratio < 1:
                    lost.append((ratio, f"{workload.name}, {track_name(track)}, {clients(load)}: {peer}", ratio))
    if not lost:
        yield "In throughput nowhere, of what was measured." if results.cells else "Nothing was measured yet."
    for _, where, ratio in sorted(lost):
        yield f"- {where} answers {1 / ratio:.2f}× as much as ours."


def _section(workload: Workload, track: str, results: Results, plots: Plots) -> Iterator[str]:
    title = f"{workload.name}, {track_name(track)}"
    loads = [load for load in _loads(workload, track) if results.servers(workload.name, track, load)]
    servers = list(dict.fromkeys(server for load in loads for server in results.servers(workload.name, track, load)))
    servers.sort(key=lambda server: server != OURS)
    picture = f"{workload.name}-{track}.svg"
    plots[picture] = bar_chart(title, list(_bars(f"{workload.name}/{track}", loads, servers, results)))
    yield f"## {title}"
    yield ""
    yield f"{workload.about[0].upper()}{workload.about[1:]}."
    yield ""
    yield from _servers(workload, track, servers, results)
    yield ""
    yield from _cells(f"{workload.name}/{track}", loads, results)
    yield ""
    yield f"![{title}](benchmarks/{picture})"


def _servers(workload: Workload, track: str, servers: list[str], results: Results) -> Iterator[str]:
    place = f"{workload.name}/{track}"
    yield "| | set up as | private MiB | processes | first answer s |"
    yield "|---|---|---|---|---|"
    for server in servers:
        key = f"{place}/{server}"
        figures = (_told(results.median(key, name)) for name in ("private_mib", "processes", "first_answer_s"))
        yield f"| {server} | {results.setting(key) or ''} | {' | '.join(figures)} |"
    refused = {name: reason for name, reason in results.refused.items() if "/" not in name}
    refused |= {key.split("/")[2]: reason for key, reason in results.refused.items() if key.startswith(f"{place}/")}
    for server, reason in sorted(refused.items()):
        yield f"| {server} | {reason.partition('; its log')[0]} | | | |"


def _cells(place: str, loads: list[str], results: Results) -> Iterator[str]:
    """A row a load and server, the one that answers most first."""
    yield "| load | server | answers/s | p50 ms | p99 ms | CPU ms | |"
    yield "|---|---|---|---|---|---|---|"
    for load in loads:
        servers = results.servers(*place.split("/"), load)
        servers.sort(key=lambda server: -(results.median(f"{place}/{server}/{load}", "per_second") or 0.0))
        for server in servers:
            key = f"{place}/{server}/{load}"
            figures = (_told(results.median(key, name)) for name in ("per_second", "p50_ms", "p99_ms", "cpu_ms"))
            name = f"**{server}**" if server == OURS else server
            yield f"| {clients(load)} | {name} | {' | '.join(figures)} | {_notes(key, results)} |"


def _notes(key: str, results: Results) -> str:
    """What failed in all rounds, of an overload what was answered in time, and what is of another run than ours."""
    workload, track, _, load = key.split("/")
    is_beside_ours = results.ratio(f"{workload}/{track}/{OURS}/{load}", key, "per_second") is not None
    notes = [] if is_beside_ours else ["of another run"]
    notes += [f"{100 * (results.median(key, 'in_time') or 0):.0f} % within 1 s"] if key.endswith("/double") else []
    failed: dict[str, int] = {}
    for each in results.cells[key].values():
        for reason, count in each["failed"].items():
            failed[reason] = failed.get(reason, 0) + count
    return "; ".join([*notes, *(f"{count} × {reason}" for reason, count in failed.items())])


def _bars(place: str, loads: list[str], servers: list[str], results: Results) -> Iterator[Group]:
    closed = [load for load in loads if load.startswith("c")]
    wanted = [(load, figure) for figure in ("per_second", "p50_ms", "p99_ms", "cpu_ms") for load in closed]
    wanted += [(load, "p99_ms") for load in loads if load.startswith("open")]
    for load, figure in wanted:
        values = [(server, results.median(f"{place}/{server}/{load}", figure)) for server in servers]
        yield f"{_FIGURES[figure]}, {clients(load)}", values
    for figure in ("private_mib", "first_answer_s"):
        yield _FIGURES[figure], [(server, results.median(f"{place}/{server}", figure)) for server in servers]


def _idle(results: Results) -> Iterator[str]:
    idle = results.facts.get("idle")
    if idle is None:
        return
    yield "## APIs that nobody asks"
    yield ""
    yield "| APIs on one server | private MiB | of an API | cores | of an API | processes |"
    yield "|---|---|---|---|---|---|"
    for count, found in sorted(idle.items(), key=lambda item: int(item[0])):
        apis = int(count)
        yield (
            f"| {count} | {_told(found['private_mib'])} | {_told(found['private_mib'] / apis)} | {found['cores']:.3f} "
            f"| {found['cores'] / apis:.4f} | {found['processes']} |"
        )


def _loads(workload: Workload, track: str) -> list[str]:
    loads = [f"c{count}" for count in workload.clients]
    return [*loads, "open50", "open80", "double"] if workload.open_loop and track == ONE_CORE else loads


def _told(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
