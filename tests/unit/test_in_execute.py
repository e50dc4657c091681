"""Which predictors answer within Triton's call of ``execute``, and what follows from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cortex_compile.compiler.artifacts import Project
from cortex_compile.compiler.choose_dispatch import answered_in_execute
from cortex_compile.compiler.reconfigure_build import configuration_of, reconfigure_build
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.write_build import write_both_manifests
from cortex_compile.facade.api_route import route_of
from cortex_compile.python_backend.manifest import BatchingSpec, Dispatch, ModelsSpec

from .test_write_build import build, make_project

IN_TURN = Dispatch("in turn", 1, "nothing of it is compiled")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.mark.parametrize(
    ("samples_ms", "expected"), [([0.01, 0.9], True), ([0.01, 1.1], False), ([], False), ([0.0], False)]
)
def test_requests_are_answered_there_where_all_samples_are_short(
    project: Project, samples_ms: list[float], expected: bool
) -> None:
    found = answered_in_execute(IN_TURN, project, samples_ms, streams=False)
    assert found == replace(IN_TURN, in_execute=expected)


def test_what_needs_a_thread_of_its_own_has_one(project: Project) -> None:
    batching, models = BatchingSpec(4, 0.1), ModelsSpec(directory="models")
    for needy in (replace(project, server_side_batching=batching), replace(project, models=models)):
        assert not answered_in_execute(IN_TURN, needy, [0.1], streams=False).in_execute
    assert not answered_in_execute(IN_TURN, project, [0.1], streams=True).in_execute
    for kind in ("passed turn", "threads"):
        assert not answered_in_execute(Dispatch(kind, 4, None), project, [0.1], streams=False).in_execute


def test_what_waits_in_triton_is_not_cancelled_there(tmp_path: Path) -> None:
    _, manifest = build(tmp_path, "local", processes_per_replica=1)
    assert route_of(replace(manifest, dispatch=IN_TURN)).cancel_after_s == 1.0
    assert route_of(replace(manifest, dispatch=replace(IN_TURN, in_execute=True))).cancel_after_s is None


def test_served_in_another_way_it_stays_where_requests_are_answered_in_turn(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path, "local")
    write_both_manifests(replace(manifest, dispatch=replace(IN_TURN, in_execute=True)), folder)
    in_turn = replace(configuration_of(manifest), processes=2, dispatch="in turn", at_once=1)
    passed = Configuration("local", 1, 2, "passed turn", 8)
    for number, (way, expected) in enumerate([(in_turn, True), (passed, False)]):
        dispatch = reconfigure_build(folder, tmp_path / str(number), way).dispatch
        assert dispatch is not None
        assert dispatch.in_execute is expected
