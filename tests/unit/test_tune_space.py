"""Which configurations are tried: what the author wrote is kept, and what was not proven is not tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler.choose_dispatch import why_not_to_ask
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.reconfigure_build import configuration_of
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.tune_space import configurations_for
from cortex_compile.python_backend.manifest import Dispatch, Manifest, ModelsSpec, Placement, SharedRun, TuningRules

from .test_write_build import build


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Proven, of one module whose calls take 3 ms, with batches of up to 16."""
    _, found = build(tmp_path, "local", processes_per_replica=1)
    cores = tuple(replace(core, call_ms=3.0) for core in found.cores)
    return replace(found, cores=cores, dispatch=Dispatch("in turn", 1, None))


def ways(manifest: Manifest, cpus: int = 2, **changed: Any) -> tuple[Configuration, ...]:
    return configurations_for(replace(manifest, **changed), cpus)


def test_how_the_build_is_comes_first_and_nothing_twice(manifest: Manifest) -> None:
    found = ways(manifest)
    assert found[0] == configuration_of(manifest)
    assert len(set(found)) == len(found)
    assert {way.placement for way in found} == {"local", "remote"}
    assert {way.dispatch for way in found} == {"in turn", "passed turn"}
    assert {way.max_batch for way in found if way.placement == "remote"} == {None, 8}


@pytest.mark.parametrize("cpus", [1, 2, 3, 16, 64])
def test_no_more_engine_threads_than_cores(manifest: Manifest, cpus: int) -> None:
    for way in ways(manifest, cpus)[1:]:
        engines = way.processes if way.placement == "local" else way.core_instances
        assert engines * way.engine_threads <= cpus
    assert len(ways(manifest, cpus)) < 60


def test_runs_that_are_shared_go_side_by_side_or_not_where_an_engine_has_threads(manifest: Manifest) -> None:
    cores = tuple(replace(core, shared_run=SharedRun(8, 8, side_by_side_from=1)) for core in manifest.cores)
    sharing = [way for way in ways(manifest, cores=cores) if way.shared_rows > 1]
    assert [(way.processes, way.engine_threads, way.at_once, way.side_by_side) for way in sharing] == [
        (2, 1, 16, False),
        (1, 2, 32, True),
        (1, 2, 32, False),
        (1, 1, 16, False),
    ]
    unproven = tuple(replace(core, shared_run=SharedRun(8, 8)) for core in cores)
    assert not any(way.side_by_side for way in ways(manifest, cores=unproven))
    of_one_thread = tuple(replace(core, threads=1) for core in unproven)
    assert any(way.side_by_side for way in ways(manifest, cores=of_one_thread))


def test_what_is_not_proven_is_not_tried(manifest: Manifest) -> None:
    found = ways(manifest, dispatch=Dispatch("in turn", 1, "predictor.last is written while it answers"))
    assert {way.dispatch for way in found} == {"in turn"}
    quick = tuple(replace(core, call_ms=0.2) for core in manifest.cores)
    assert {way.dispatch for way in ways(manifest, cores=quick) if way.placement == "local"} == {"in turn"}


@pytest.mark.parametrize("placement", ["local", "remote"])
def test_what_the_author_wrote_is_kept(manifest: Manifest, placement: Placement) -> None:
    cores = tuple(replace(core, placement=placement) for core in manifest.cores)
    found = ways(manifest, cores=cores, tuning=TuningRules(written={"placement": placement}))
    assert {way.placement for way in found} == {placement}
    written = TuningRules(written={"processes_per_replica": 3})
    assert {way.processes for way in ways(manifest, processes_per_replica=3, tuning=written)} == {3}
    serving = TuningRules(written={"engine_threads": 2, "instances": 5, "max_batch": 4})
    assert {way.engine_threads for way in ways(manifest, tuning=serving)} == {2}
    remote = [way for way in ways(manifest, tuning=serving) if way.placement == "remote"]
    assert {(way.core_instances, way.max_batch) for way in remote[1:]} == {(5, 4)}
    threads = ways(manifest, dispatch=Dispatch("threads", 5, "threads_per_process is 5"))
    assert {(way.dispatch, way.at_once) for way in threads} == {("threads", 5)}


def test_a_cache_of_models_stays_in_one_process(manifest: Manifest) -> None:
    assert {way.processes for way in ways(manifest, models=ModelsSpec(directory="models", cache_size=2))} == {1}


def test_what_cortex_yaml_says_of_serving_is_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "predictor.py").write_text("class PythonPredictor: ...\n")
    (tmp_path / "sample.json").write_text("1")
    (tmp_path / "cortex.yaml").write_text(
        "- name: a\n"
        "  predictor: {type: python, path: predictor.py, threads_per_process: 1}\n"
        "  compile: {engine_threads: 2, instances: 3, max_batch: 0, latency_limit: 50ms}\n"
    )
    (project,) = read_projects(
        tmp_path / "predictor.py", config=None, samples=(), name=None, settings_overrides={"placement": "local"}
    )
    assert project.written == {
        "placement": "local",
        "engine_threads": 2,
        "instances": 3,
        "max_batch": 0,
        "threads_per_process": 1,
    }
    assert project.settings.latency_limit_s == 0.05
    assert why_not_to_ask(project) == "threads_per_process: 1 is written in cortex.yaml"
