"""docs/benchmarks.md holds what the results say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.serving.document import BEGIN, END, FILE, PLOTS, figures
    from benchmarks.serving.results import FILE as RESULTS
    from benchmarks.serving.results import Results

    text, plots = figures(Results.read(RESULTS))
    assert FILE.read_text().split(BEGIN)[1].split(END)[0].strip() == text
    assert {file.name: file.read_text() for file in PLOTS.glob("*.svg")} == plots
