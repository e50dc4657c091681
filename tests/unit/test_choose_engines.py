"""What is chosen from what was measured: a pure function, so the measurements are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler.artifacts import (
    Attempt,
    Candidate,
    Choice,
    ChosenCore,
    CompileSettings,
    Measurement,
    ModuleRecord,
    Project,
    SignatureRecord,
    SizeCurve,
    SizePoint,
    Trial,
    label_of,
)
from cortex_compile.compiler.choose_engines import choose_engines, without_reduced_precision
from cortex_compile.python_backend.manifest import BatchingSpec, Core, Variant

MODULE = ModuleRecord("net", "predictor.net", "Net", "predictor.py:1", 9, 1, 4, None, (SignatureRecord("v0", (), 9),))
VARIANT = Variant("v0", "", (), "", (), (), (), (), "batch", "v0.onnx")


def candidate(engine: str, speedup: float, precision: Any = "fp32", by_row: tuple[float, ...] = ()) -> Candidate:
    """``by_row`` are the times of batches of 1 and 8, where eager takes 10 and 40 ms."""
    points = tuple(SizePoint(size, eager, ms) for size, eager, ms in zip((1, 8), (10.0, 40.0), by_row, strict=False))
    attempt = Attempt(
        engine,
        None,
        "",
        "",
        measurements=(Measurement("x", 10.0, 10.0, 10.0 / speedup, 10.0, speedup, 5, 1),),
        curves=(SizeCurve("batch", 1, points),) if points else (),
        precision=precision,
    )
    return Candidate("net", "v0", attempt, VARIANT)


def refused(engine: str, stage: Any, reason: str, precision: Any = "fp32") -> Candidate:
    return Candidate("net", "v0", Attempt(engine, stage, reason, "", precision=precision))


def trial(*candidates: Candidate) -> Trial:
    cores = tuple(
        ChosenCore(
            Core(
                "net", "predictor.net", "Net", "", "", (), each.attempt.engine, "local", 1, None, (), (VARIANT,),
                each.attempt.precision,
            ),
            Path(label_of(each.attempt.engine, each.attempt.precision)),
        )
        for each in candidates
        if each.variant is not None
    )  # fmt: skip
    return Trial((MODULE,), candidates, cores, {})


def choose(found: Trial, batching: BatchingSpec | None = None, **settings: Any) -> Choice:
    project = Project(
        "api", "/api", Path(), "predictor.py", {}, {}, None, "info", 1, 1, 1, (), (), CompileSettings(**settings)
    )
    project = replace(project, server_side_batching=batching)
    (choice,) = choose_engines(found, project)
    return choice


def test_the_fastest_is_chosen_and_its_numbers_told() -> None:
    choice = choose(trial(candidate("onnxruntime", 2.0), candidate("openvino", 2.2)))
    assert choice.engine == "openvino"
    assert "2.20× as fast as eager" in choice.reason


def test_what_the_samples_calls_take_is_kept() -> None:
    core = choose(trial(candidate("onnxruntime", 2.0))).core
    assert core is not None
    count = sum(signature.count for signature in MODULE.signatures)
    assert (core.core.call_ms, core.core.calls_ms) == (5.0, 5.0 * count)


@pytest.mark.parametrize(
    ("other", "precision", "chosen"),
    [("openvino", "fp32", "onnxruntime"), ("onnxruntime", "int8", "onnxruntime")],
)
def test_of_two_that_are_as_fast_as_each_other_the_simpler_is_chosen(other: str, precision: Any, chosen: str) -> None:
    choice = choose(trial(candidate(other, 2.05, precision), candidate("onnxruntime", 2.0)), precision=precision)
    assert choice.engine == chosen
    assert choice.core is not None
    assert choice.core.core.precision == "fp32"


def test_for_throughput_the_time_a_row_decides() -> None:
    """One is quicker alone, the other with eight rows."""
    found = trial(
        candidate("onnxruntime", 2.0, by_row=(5.0, 36.0)),
        candidate("openvino", 1.5, by_row=(7.0, 16.0)),
    )
    assert choose(found).engine == "onnxruntime"
    assert choose(found, objective="throughput").engine == "openvino"


def test_for_throughput_eager_is_chosen_where_its_batches_are_the_quickest_and_the_predictor_makes_some() -> None:
    found = trial(candidate("onnxruntime", 2.0, by_row=(5.0, 60.0)))
    assert choose(found).engine == "onnxruntime"
    choice = choose(found, objective="throughput", batching=BatchingSpec(8, 0.1))
    assert (choice.engine, choice.core) == ("eager", None)
    assert "for throughput" in choice.reason


def test_for_throughput_eager_has_no_batches_of_its_own() -> None:
    """Requests that are answered one by one meet in a compiled module alone."""
    found = trial(candidate("onnxruntime", 1.5, by_row=(9.0, 60.0)))
    assert choose(found, objective="throughput").engine == "onnxruntime"


def test_without_proof_that_rows_are_independent_a_batch_counts_for_nothing() -> None:
    found = candidate("onnxruntime", 2.0, by_row=(5.0, 60.0))
    assert found.variant is not None
    alone = replace(found, variant=replace(found.variant, batch_dimension=None))
    assert choose(trial(alone), objective="throughput").engine == "onnxruntime"


@pytest.mark.parametrize(
    ("reduced", "words"),
    [
        (candidate("onnxruntime", 1.9, "int8"), "not faster than that (1.90× as fast as eager)"),
        (refused("onnxruntime", "export", "no weights", "int8"), "it cannot be exported: no weights"),
        (refused("onnxruntime", "measure", "not faster than eager: 0.90×", "int8"), "not faster than eager: 0.90×"),
    ],
)
def test_what_was_asked_for_and_not_taken_is_told_with_its_numbers(reduced: Candidate, words: str) -> None:
    choice = choose(trial(candidate("onnxruntime", 2.0), reduced), precision="int8")
    assert choice.core is not None
    assert choice.core.core.precision == "fp32"
    assert "int8 is not used" in choice.reason
    assert words in choice.reason


def test_what_the_rehearsal_refused_leaves_fp32_and_the_reason() -> None:
    found = trial(candidate("onnxruntime", 2.0), candidate("onnxruntime", 4.0, "int8"))
    choice = choose(found, precision="int8")
    assert choice.core is not None
    assert choice.core.core.precision == "int8"
    assert "onnxruntime, int8" in choice.reason
    choice = choose(without_reduced_precision(found, "sample.json: y is 2, eager says 1"), precision="int8")
    assert choice.core is not None
    assert choice.core.core.precision == "fp32"
    assert "2.00× as fast" in choice.reason
    assert "sample.json: y is 2, eager says 1" in choice.reason


def test_what_the_rehearsal_refused_leaves_eager_where_fp32_is_not_faster() -> None:
    measured = candidate("onnxruntime", 0.9).attempt
    attempt = replace(measured, refused_at="measure", reason="not faster than eager")
    found = trial(Candidate("net", "v0", attempt, None), candidate("onnxruntime", 4.0, "int8"))
    choice = choose(without_reduced_precision(found, "sample.json: y is 2, eager says 1"), precision="int8")
    assert (choice.engine, choice.core) == ("eager", None)
    assert choice.reason.startswith("stays eager: is not faster than eager; int8 is not used: ")


def test_what_ended_while_it_was_measured_is_not_called_slow() -> None:
    choice = choose(trial(refused("onnxruntime", "measure", "its process ended with signal 11")))
    assert (choice.engine, choice.core) == ("eager", None)
    assert choice.reason == "stays eager: cannot be measured: its process ended with signal 11"
