"""`make demo` does what the README shows, and would say so if an answer differed."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from .scripts import ROOT, load_script


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load_script("demo")


@pytest.mark.parametrize(
    ("found", "equal"),
    [
        ([[0.5, -0.25]], True),
        ([[0.50001, -0.25]], True),
        ([[0.501, -0.25]], False),
        ([[0.5, float("nan")]], False),
        ([[0.5], [-0.25]], False),
        ([0.5, -0.25], False),
    ],
)
def test_a_different_answer_is_seen(demo: ModuleType, found: list[list[float]], equal: bool) -> None:
    assert demo.compare("some way", np.array([[0.5, -0.25]]), found)["equal"] is equal


def test_a_command_that_fails_ends_the_demo(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo"])
    with pytest.raises(SystemExit, match="exit code 2"):
        demo.compile_example(ROOT / "build" / "demo" / "never", "--no-such-option")


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo() -> None:
    run = subprocess.run([sys.executable, "scripts/demo"], cwd=ROOT, capture_output=True, text=True, timeout=590)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "All answers equal the plain predictor's." in run.stdout
    figures = json.loads((ROOT / "build" / "demo" / "figures.json").read_text())
    assert [row["equal"] for row in figures["answers"]] == [True] * 5
    assert load_script("write_readme").table_of(figures)
