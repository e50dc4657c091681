"""The pure parts of the serving benchmark: what is made of figures. The servers are another matter."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def cell(per_second: float, **figures: Any) -> dict[str, Any]:
    whole = {"p50_ms": 1.0, "p99_ms": 2.0, "cpu_ms": 0.4, "in_time": 1.0, "generator": 0.1, "others": 0.0, "failed": {}}
    return {"per_second": per_second, **whole, **figures}


def results_of(cells: dict[str, list[float]], **known: Any) -> Any:
    from benchmarks.serving.results import Results

    rounds = {key: {str(n): cell(value) for n, value in enumerate(values)} for key, values in cells.items()}
    return Results(Path("nowhere.json"), cells=rounds, **known)


def test_a_ratio_is_of_the_same_round() -> None:
    results = results_of({"w/t/a/c1": [10, 40, 90], "w/t/b/c1": [10, 20, 30]})
    assert results.ratio("w/t/a/c1", "w/t/b/c1", "per_second") == 2  # and not 40 / 20 by chance: 1, 2, 3
    results.cells["w/t/b/c1"].pop("0")
    assert results.ratio("w/t/a/c1", "w/t/b/c1", "per_second") == 2.5
    assert results.ratio("w/t/a/c1", "w/t/none/c1", "per_second") is None


def test_what_is_of_another_run_is_not_compared() -> None:
    from benchmarks.serving.targets import best_peer

    results = results_of({"w/t/cortex-compile/c1": [10, 10], "w/t/old/c1": [90, 90], "w/t/new/c1": [5, 8]})
    assert best_peer(results, "w", "t", "c1") == "old"
    for key, at in (("cortex-compile", 100_000), ("new", 101_000)):
        for each in results.cells[f"w/t/{key}/c1"].values():
            each["at"] = at
    assert best_peer(results, "w", "t", "c1") == "new"
    assert results.ratio("w/t/cortex-compile/c1", "w/t/old/c1", "per_second") is None
    results.cells["w/t/new/c1"]["0"]["at"] = 200_000
    assert results.ratio("w/t/cortex-compile/c1", "w/t/new/c1", "per_second") == 10 / 8


def test_what_was_measured_is_read_again_and_can_be_forgotten(tmp_path: Path) -> None:
    from benchmarks.serving.measure import Cell
    from benchmarks.serving.peer_servers import Setting
    from benchmarks.serving.processes import Memory
    from benchmarks.serving.results import Results

    results = Results.read(tmp_path / "results.json")
    results.put_cell("no-op/one-core/ray/c1", 0, Cell(5.0, 1.0, 2.0, 3.0, 1.0, 0.1, 0.0, {"503": 2}))
    results.put_cell("no-op/one-core/rayon/c1", 0, Cell(6.0, 1.0, 2.0, 3.0, 1.0, 0.1, 0.0))
    results.put_start("no-op/one-core/ray", 0, 12.345, Memory(3, 100.0, 120.0))
    results.put_setting("no-op/one-core/ray", Setting(2, 1, 8))
    again = Results.read(tmp_path / "results.json")
    assert vars(again) == vars(results)
    assert again.median("no-op/one-core/ray", "first_answer_s") == pytest.approx(12.345, abs=0.01)
    results.put_cell("no-op/one-core/ray/c8", 0, Cell(7.0, 1.0, 2.0, 3.0, 1.0, 0.1, 0.0))
    results.forget("no-op/one-core/ray", ["c1", "c32"])
    assert list(results.cells) == ["no-op/one-core/rayon/c1", "no-op/one-core/ray/c8"]
    assert results.median("no-op/one-core/ray", "first_answer_s") is not None
    assert results.setting("no-op/one-core/ray") == Setting(2, 1, 8)
    again.forget("no-op/one-core/ray")
    assert list(again.cells) == ["no-op/one-core/rayon/c1"]
    assert again.starts == {}
    assert again.setting("no-op/one-core/ray") is None


def test_targets_say_whether_they_are_met_and_by_how_much() -> None:
    from benchmarks.serving.targets import targets, told

    place = "encoder/one-core"
    results = results_of(
        {
            f"{place}/cortex-compile/c1": [60, 66],
            f"{place}/fastapi/c1": [40, 40],
            f"{place}/ray/c1": [10, 10],
            f"{place}/cortex-compile/c8": [95, 95],
            f"{place}/mosec/c8": [95, 95],
        },
        facts={"engine_per_second": 100.0, "weights_mib": {"encoder": 90.0}},
        starts={f"{place}/cortex-compile": {"0": {"private_mib": 600.0}}},
    )
    rows = {row[0]: row[1:] for row in map(told, targets(results))}
    assert rows["encoder: throughput, 1 client, one core"] == (
        "≥ 1.5 × the best peer",
        "1.57 (fastapi)",
        "met, 5 % better",
    )
    assert rows["encoder: throughput, 8 clients, one core"][2].startswith("met")  # the engine's, which comes later
    assert rows["encoder: private memory of all processes"] == ("≤ 560 MiB", "600", "**not met**, 7 % short")
    assert rows["no-op: p50, 1 client"] == ("≤ 1.2 ms", "not measured", "")


def test_the_tail_is_compared_with_fastapi_as_most_people_write_it() -> None:
    from benchmarks.serving.targets import targets

    place = "no-op/one-core"
    cells = {f"{place}/{server}/c1": [100] for server in ("cortex-compile", "plain-fastapi", "fastapi")}
    results = results_of(cells)
    for server, p99_ms in (("cortex-compile", 3.0), ("plain-fastapi", 2.0), ("fastapi", 1.0)):
        results.cells[f"{place}/{server}/c1"]["0"]["p99_ms"] = p99_ms
    found = {target.name: target.found for target in targets(results)}
    assert found["no-op: p99, 1 client"] == 1.5


def test_the_page_shows_who_is_slower_where_we_are_and_what_failed() -> None:
    from benchmarks.serving.document import figures

    place = "no-op/one-core"
    results = results_of(
        {f"{place}/cortex-compile/c1": [100], f"{place}/mosec/c1": [150], f"{place}/fastapi/c1": [50]},
        settings={f"{place}/mosec": {"workers": 1, "threads": 1, "batch": 8}},
        refused={f"{place}/ray": "no right answer; its log is elsewhere", "bentoml": "does not install here: no wheel"},
        facts={"idle": {"4": {"cores": 0.02, "private_mib": 400.0, "processes": 8}}},
    )
    results.cells[f"{place}/mosec/c1"]["0"]["failed"] = {"503": 7}
    text, plots = figures(results)
    assert "no-op, one core, 1 client: mosec answers 1.50× as much as ours" in text
    assert "fastapi answers" not in text
    assert "| mosec | 1 × 1 thread, batches of 8 | " in text
    rows = [line.split(" | ")[1:] for line in text.splitlines() if line.startswith("| 1 client | ")]
    assert rows[0] == ["mosec", "150", "1", "2", "0.4", "7 × 503 |"]
    assert [row[0] for row in rows] == ["mosec", "**cortex-compile**", "fastapi"]
    assert "| ray | no right answer |" in text
    assert "| bentoml | does not install here: no wheel |" in text
    assert "| 4 | 400 | 100 | 0.020 | 0.0050 | 8 |" in text
    assert text.count("![") == len(plots) == 1
    for picture in plots.values():
        xml.fromstring(picture)


def test_bars_are_as_long_as_their_values() -> None:
    from benchmarks.serving.plots import bar_chart

    picture = xml.fromstring(bar_chart("a < b", [("1 client", [("ours", 50.0), ("peer", 25.0), ("none", None)])]))
    bars = [node for node in picture if node.tag.endswith("rect")][1:]
    assert [float(bar.attrib["width"]) for bar in bars] == [430.0, 215.0]
    assert len({bar.attrib["fill"] for bar in bars}) == 2


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ({"a": [0.5, "x"]}, {"a": [0.5001, "x"]}, True),
        ({"a": [0.5]}, {"a": [0.501]}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        (0.5, "0.5", False),
        (float("nan"), 0.0, False),
    ],
)
def test_answers_are_compared_number_by_number(expected: Any, found: Any, same: bool) -> None:
    from benchmarks.serving.answers import is_same

    assert is_same(expected, found, 2e-4) is same


def test_an_answer_that_cannot_be_read_or_is_wrong_is_told() -> None:
    from benchmarks.serving.answers import judge
    from benchmarks.serving.workloads import WORKLOADS

    compare = judge(WORKLOADS["no-op"], json.loads, [{"length": 3}])
    assert compare(0, b'{"length": 3}') is None
    assert compare(0, b'{"length": 4}') == "wrong answer"
    told = compare(0, b"<html>")
    assert told is not None
    assert told.startswith("unreadable")


def test_each_peer_is_asked_in_its_own_words() -> None:
    from benchmarks.serving.peer_servers import PEERS, Setting
    from benchmarks.serving.workloads import WORKLOADS

    payload, batched = {"text": "some words"}, Setting(1, 1, 8)
    asked = {name: peer.asking(WORKLOADS["no-op"], batched, payload) for name, peer in PEERS.items()}
    assert json.loads(asked["fastapi"].body) == payload
    assert json.loads(asked["bentoml"].body) == {"payloads": [payload]}
    assert json.loads(asked["mlserver"].body)["inputs"][0]["data"] == ["some words"]
    assert asked["bentoml"].read(b'[{"length": 1}]') == {"length": 1}
    assert asked["mlserver"].read(b'{"outputs": [{"data": ["{\\"length\\": 1}"]}]}') == {"length": 1}
    assert not PEERS["mosec"].takes(WORKLOADS["waiting"])
    assert not PEERS["mlserver"].takes(WORKLOADS["upload-form"])


def test_a_setting_is_chosen_among_what_a_user_would_try() -> None:
    from benchmarks.serving.peer_servers import Setting
    from benchmarks.serving.settings import candidates
    from benchmarks.serving.workloads import MACHINE, ONE_CORE, WORKLOADS

    encoder = WORKLOADS["encoder"]
    assert candidates("mosec", encoder, ONE_CORE, 1, None) == [Setting(1, 1, 1), Setting(1, 1, 8)]
    assert candidates("mosec", encoder, MACHINE, 2, Setting(1, 1, 8)) == [Setting(2, 1, 8), Setting(1, 2, 8)]
    assert candidates("cortex-compile", encoder, MACHINE, 2, None) == [Setting(2, 1, 1), Setting(1, 2, 1)]
    assert candidates("fastapi", WORKLOADS["waiting"], MACHINE, 2, None) == [Setting(1, 1, 1)]
    assert candidates("plain-fastapi", WORKLOADS["no-op"], ONE_CORE, 1, None) == [Setting(1, 1, 1)]


def test_given_rates_come_from_the_slowest_good_peer_and_from_the_server_itself() -> None:
    from benchmarks.serving.rounds import open_loads

    place = "no-op/one-core"
    results = results_of(
        {f"{place}/cortex-compile/c32": [300], f"{place}/a/c32": [100], f"{place}/b/c32": [60], f"{place}/c/c32": [40]}
    )
    rates = {name: load.rate for name, load in open_loads("no-op", "one-core", "cortex-compile", results).items()}
    assert rates == {"open50": 30.0, "open80": 48.0, "double": 600.0}


def test_the_guard_tells_what_moved() -> None:
    from benchmarks.serving.guard import compare

    lines = compare({"facade": 3.0, "other": 1.0}, {"facade": 3.6, "other": 1.01, "new": 2.0})
    assert ["MORE" in line for line in lines] == [True, False, False]
    assert "1.20×" in lines[0]
    assert "as recorded" in lines[1]
    assert "not recorded before" in lines[2]


def test_the_guard_measures_what_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.serving import guard

    monkeypatch.setattr(guard, "_TURNS", 1)
    monkeypatch.setattr(guard, "_CALLS", 2)
    found = guard.measure()
    assert found.keys() == {"facade", "predictor's process"}
    assert min(found.values()) > 0


def test_every_sample_of_a_workload_is_one_that_it_can_answer(tmp_path: Path) -> None:
    import yaml

    from benchmarks.serving.builds import write_project
    from benchmarks.serving.workloads import WORKLOADS

    for name in ("no-op", "mixed", "upload-form", "upload-base64"):
        write_project(WORKLOADS[name], name, tmp_path / name, 2)
        (api,) = yaml.safe_load((tmp_path / name / "cortex.yaml").read_text())
        assert api["predictor"]["processes_per_replica"] == 2
        for sample in api["compile"]["samples"]:
            assert (tmp_path / name / sample["file"]).stat().st_size > 0
    assert len(api["compile"]["samples"]) == 1
