"""Processes of one predictor divide the machine's cores among the compiled modules in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler import pipeline
from cortex_compile.compiler.artifacts import Trial
from cortex_compile.compiler.read_project import read_projects


@pytest.mark.parametrize(("processes", "threads"), [(1, 6), (2, 3), (4, 1), (100, 1)])
def test_threads_divide(
    tmp_path: Path, predictors: Path, monkeypatch: pytest.MonkeyPatch, processes: int, threads: int
) -> None:
    class Found(Exception):
        pass

    def run_workbench(project: Any, work: Path, found: int, *rest: Any) -> Trial:
        assert found == threads
        raise Found

    monkeypatch.setattr(pipeline, "run_workbench", run_workbench)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    predictor = predictors / "deep" / "predictor.py"
    (project,) = read_projects(predictor, config=None, samples=(), name=None, settings_overrides={})
    project = replace(project, processes_per_replica=processes)
    with pytest.raises(Found):
        pipeline.compile_predictor(
            project, tmp_path / "build", command="", only=None, fresh=True, dry_run=True, tell=lambda line: None
        )
