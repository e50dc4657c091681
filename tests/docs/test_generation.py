"""docs/generation.md holds what the results say, and they say what is promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.generation.results import read_results

    return read_results()


def test_the_page_is_what_the_results_say(results: Any) -> None:
    from benchmarks.generation.document import BEGIN, END, FILE, figures

    assert FILE.read_text().split(BEGIN)[1].split(END)[0].strip() == figures(results)


def test_each_kind_of_model_generates_the_same_tokens(results: Any) -> None:
    assert {row.model for row in results.rows} == {"bart", "t5", "gpt2", "llama"}
    for row in results.rows:
        assert (row.different, row.equal + row.excused) == (0, 20), row
        # Tokens that are all alike would be alike whatever was computed.
        assert min(row.distinct_tokens, 2 * row.distinct_outputs) >= 40, row
