"""How many rows share a run: as many as make a row cheap, of what was proven; none where that gains nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cortex_compile.compiler.artifacts import Attempt, Candidate, CompileSettings, SizeCurve, SizePoint
from cortex_compile.compiler.choose_dispatch import rows_of_shared_runs, sharing_dispatch
from cortex_compile.compiler.choose_shared_run import choose_shared_run
from cortex_compile.python_backend.manifest import Dimension, Dispatch, SharedRun

from .test_shared_runs import VARIANT, core

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
    assert sharing_dispatch(8, 2) == Dispatch("passed turn", 24, None, 8)
    assert sharing_dispatch(32, 1) == Dispatch("passed turn", 32, None, 32)
