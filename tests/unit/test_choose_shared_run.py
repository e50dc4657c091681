"""How many rows share a run: as many as make a row cheap, of what was proven; none where that gains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cortex_compile.compiler.artifacts import (
    Attempt,
    Candidate,
    CompileSettings,
    Measurement,
    SideBySidePoint,
    SizeCurve,
    SizePoint,
)
from cortex_compile.compiler.choose_dispatch import choose_dispatch, rows_of_shared_runs, sharing_dispatch
from cortex_compile.compiler.choose_shared_run import choose_shared_run
from cortex_compile.python_backend.manifest import Dimension, Dispatch, SharedRun

from .test_shared_runs import VARIANT, core
from .test_write_build import make_project

# Milliseconds of a run, by its rows.
GAINS = {1: 9.0, 4: 31.0, 8: 60.0, 16: 121.0, 32: 236.0}
GAINS_SLOWLY = {1: 9.0, 4: 33.0, 8: 60.0, 16: 104.0, 32: 200.0}
NO_GAIN = {1: 9.0, 4: 35.0, 8: 69.0}
FEW_ARE_ENOUGH = {1: 9.0, 4: 20.0}


def candidate(times_ms: dict[int, float], dimension: str = "batch") -> Candidate:
    curve = SizeCurve(dimension, 1, tuple(SizePoint(size, 2 * ms, ms) for size, ms in times_ms.items()))
    return Candidate("net", "first", replace(Attempt("onnxruntime", None, "", ""), curves=(curve,)), VARIANT, "")


@pytest.mark.parametrize(
    ("times_ms", "rows"), [(GAINS, 8), (GAINS_SLOWLY, 16), (NO_GAIN, None), (FEW_ARE_ENOUGH, 4), ({1: 9.0}, None)]
)
def test_as_many_as_make_a_row_cheap(times_ms: dict[int, float], rows: int | None) -> None:
    expected = None if rows is None else SharedRun(rows, rows * 8)  # a typical length is 8
    assert choose_shared_run([candidate(times_ms)], "onnxruntime", CompileSettings()) == expected


def test_for_throughput_a_run_may_be_long() -> None:
    gains = {**GAINS_SLOWLY, 16: 113.0}
    for objective, rows in (("latency", 16), ("throughput", 32)):
        settings = CompileSettings(objective=objective)  # type: ignore[arg-type]
        assert choose_shared_run([candidate(gains)], "onnxruntime", settings) == SharedRun(rows, rows * 8)


def test_no_more_than_the_author_allows() -> None:
    assert choose_shared_run([candidate(GAINS)], "onnxruntime", CompileSettings(max_batch=4)) == SharedRun(4, 32)
    assert choose_shared_run([candidate(GAINS)], "onnxruntime", CompileSettings(max_batch=1)) is None
    assert choose_shared_run([candidate(GAINS)], "onnxruntime", CompileSettings(max_batch=0)) is None


def test_none_where_it_is_not_proven_or_not_known() -> None:
    assert choose_shared_run([candidate(GAINS)], "tensorrt", CompileSettings()) is None
    dependent = replace(candidate(GAINS), variant=replace(VARIANT, batch_dimension=None))
    assert choose_shared_run([dependent], "onnxruntime", CompileSettings()) is None
    untypical = replace(VARIANT, dimensions=(Dimension("batch", 0, 64, 1), Dimension("length", 0, 64)))
    assert choose_shared_run([replace(candidate(GAINS), variant=untypical)], "onnxruntime", CompileSettings()) is None
    assert choose_shared_run([candidate(GAINS, "length")], "onnxruntime", CompileSettings()) is None
    assert choose_shared_run([replace(candidate(GAINS), variant=None)], "onnxruntime", CompileSettings()) is None


def test_the_way_of_calling_it_that_gains_most_counts() -> None:
    assert choose_shared_run([candidate(NO_GAIN), candidate(GAINS)], "onnxruntime", CompileSettings()) == SharedRun(
        8, 64
    )


def test_twice_as_many_requests_are_under_way() -> None:
    assert rows_of_shared_runs([core(8), core(4)]) == 8
    assert rows_of_shared_runs([replace(core(8), placement="remote")]) == 1
    assert rows_of_shared_runs([core(8, call_ms=0.5)]) == 1  # the turn is not passed on for so little
    assert sharing_dispatch(8, 1) == Dispatch("passed turn", 16, None, 8)
    assert sharing_dispatch(8, 2) == Dispatch("passed turn", 32, None, 8)
    assert sharing_dispatch(32, 1) == Dispatch("passed turn", 32, None, 32)


# Of all of two threads, by the rows of a run; and of one thread beside another.
TWO_THREADS = {1: 6.0, 4: 18.0, 8: 30.0, 16: 50.0}
BESIDE = {1: 9.0, 4: 24.0, 8: 42.0, 16: 82.0}


def with_runs_beside(times_ms: dict[int, float], threads: int = 2) -> Candidate:
    found = candidate(TWO_THREADS)
    measured = Measurement("", 9.0, 9.0, 6.0, 6.0, 1.5, 10, threads)
    points = tuple(SideBySidePoint(size, ms) for size, ms in times_ms.items())
    return replace(found, attempt=replace(found.attempt, measurements=(measured,), side_by_side=points))


@pytest.mark.parametrize(
    ("times_ms", "expected"),
    [
        (BESIDE, SharedRun(8, 64, side_by_side_from=1)),  # two of 8 take 42 ms, one of 16 takes 50
        ({**BESIDE, 1: 11.0}, SharedRun(8, 64, side_by_side_from=4)),  # two of one take 11, one of two takes 10
        ({**BESIDE, 8: 49.0, 16: 97.0}, SharedRun(16, 128)),  # is worth no second copy of the weights
        ({1: 5.0, 4: 20.0, 8: 40.0, 16: 80.0}, SharedRun(16, 128)),  # rows gain nothing where there is one thread
        ({}, SharedRun(16, 128)),
    ],
)
def test_runs_go_side_by_side_where_that_was_measured_to_be_quicker(
    times_ms: dict[int, float], expected: SharedRun
) -> None:
    assert choose_shared_run([with_runs_beside(times_ms)], "onnxruntime", CompileSettings()) == expected


def test_the_author_bounds_the_rows_of_runs_side_by_side_too() -> None:
    found = choose_shared_run([with_runs_beside(BESIDE)], "onnxruntime", CompileSettings(max_batch=4))
    assert found == SharedRun(4, 32, side_by_side_from=1)


def test_side_by_side_is_for_engines_of_several_threads_in_the_predictors_process(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    beside = replace(core(8, threads=2), shared_run=SharedRun(8, 64, side_by_side_from=2))
    assert choose_dispatch(project, [beside], None) == Dispatch("passed turn", 32, None, 8, side_by_side=True)
    assert not choose_dispatch(project, [replace(beside, threads=1)], None).side_by_side
    assert not choose_dispatch(project, [core(8, threads=2)], None).side_by_side
    assert not choose_dispatch(project, [beside], "it draws random numbers").side_by_side


def test_where_most_time_goes_into_calls_that_share_no_runs_few_requests_are_under_way(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    encoder = replace(core(8), calls_ms=38.0)
    decoder = replace(core(8), shared_run=None, calls_ms=312.0)
    assert choose_dispatch(project, [encoder, decoder], None) == Dispatch("in turn", 1, None)
    on_two = [replace(each, threads=2) for each in (encoder, decoder)]
    assert choose_dispatch(project, on_two, None) == Dispatch("passed turn", 2, None)
    assert choose_dispatch(project, [encoder, replace(decoder, calls_ms=30.0)], None).shared_rows == 8
    assert choose_dispatch(project, [core(8)], None).shared_rows == 8  # whose times are not known


def test_with_cores_enough_one_request_is_in_python_beside_anothers_call(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    alone = replace(core(8, threads=2), shared_run=None)
    assert choose_dispatch(project, [alone], None) == Dispatch("passed turn", 2, None)
    assert choose_dispatch(project, [alone], "it draws random numbers").kind == "in turn"
    assert choose_dispatch(project, [replace(alone, call_ms=0.5)], None) == Dispatch("in turn", 1, None)
    assert choose_dispatch(project, [replace(alone, threads=1)], None) == Dispatch("in turn", 1, None)
