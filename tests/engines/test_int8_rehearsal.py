"""int8 is judged by the predictor's answers: used within compile.tolerance, else fp32 comes back with the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler import pipeline
from cortex_compile.compiler.artifacts import Choice, Rehearsal, Trial
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.run_workbench import run_workbench
from cortex_compile.compiler.tolerances import Tolerance, Tolerances

PREDICTOR = """
import torch


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        # Deep and narrow, so that any graph is faster than torch.
        layers = [layer for _ in range(40) for layer in (torch.nn.Linear(16, 16), torch.nn.Tanh())]
        self.net = torch.nn.Sequential(*layers).eval()

    def predict(self, payload):
        with torch.no_grad():
            return {"scores": self.net(torch.full((1, 16), payload["x"]))[0, :4].tolist()}
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Trial, Path]:
    """What the workbench finds, with made-up speeds: int8 the fastest by far."""
    folder = tmp_path_factory.mktemp("int8")
    work = folder / "work"
    work.mkdir()
    (folder / "own").mkdir()
    (folder / "own" / "predictor.py").write_text(PREDICTOR)
    (folder / "own" / "sample.json").write_text('{"x": 0.5}')
    (project,) = read_projects(
        folder / "own" / "predictor.py", config=None, samples=(), name="net", settings_overrides={"precision": "int8"}
    )
    trial = run_workbench(project, work, 1, "again", None, True, lambda _: None)
    assert [(each.attempt.precision, each.attempt.reason) for each in trial.candidates if each.variant is None] == []
    made_up = {"fp32": 2.0, "int8": 4.0}
    candidates = tuple(
        replace(
            each,
            attempt=replace(
                each.attempt,
                measurements=tuple(
                    replace(measured, speedup=made_up[each.attempt.precision]) for measured in each.attempt.measurements
                ),
            ),
        )
        for each in trial.candidates
    )
    return project, replace(trial, candidates=candidates), work


def write(
    tried: tuple[Any, Trial, Path], tolerance: Tolerance, monkeypatch: pytest.MonkeyPatch
) -> tuple[Trial, Choice, Rehearsal]:
    project, trial, work = tried
    # What is decided from timings is not tested here.
    monkeypatch.setattr(pipeline, "SLOWER", 0.0)
    project = replace(project, settings=replace(project.settings, tolerances=Tolerances(float32=tolerance)))
    trial, (choice,), rehearsal = pipeline._write_until_equal(project, trial, work / "build", work, lambda _: None)
    return trial, choice, rehearsal


def test_within_tolerance_it_is_used_and_its_difference_told(
    tried: tuple[Any, Trial, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, choice, rehearsal = write(tried, Tolerance(0.05, 0.05), monkeypatch)
    assert choice.core is not None
    assert choice.core.core.precision == "int8"
    (sample,) = rehearsal.samples
    assert sample.answers_equal
    assert sample.worst is not None
    assert sample.worst.where.startswith("scores[")
    assert 0 < sample.worst.excess <= 1
    assert rehearsal.states == {choice.core.core.name: "compiled"}


def test_beyond_tolerance_fp32_comes_back_with_the_numbers(
    tried: tuple[Any, Trial, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, choice, rehearsal = write(tried, Tolerance(1e-6, 1e-5), monkeypatch)
    assert choice.core is not None
    assert (choice.engine, choice.core.core.precision) == ("onnxruntime", "fp32")
    for words in ("int8 is not used", "sample.json", "scores[", "eager says", "times the tolerance", "relative 1e-05"):
        assert words in choice.reason
    assert all(sample.answers_equal for sample in rehearsal.samples)
    (refused,) = [each for each in trial.candidates if each.attempt.precision == "int8"]
    assert (refused.attempt.refused_at, refused.variant) == ("rehearse", None)
