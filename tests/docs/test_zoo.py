"""docs/zoo.md is what the zoo's results say, and they say what is promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows and results, by name."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.zoo.results import read_results
    from benchmarks.zoo.rows import read_rows

    return read_rows(), read_results()


def test_the_page_is_what_the_results_say(zoo: Any) -> None:
    from benchmarks.zoo.document import FILE, document_text

    assert FILE.read_text() == document_text(*zoo)


def test_many_were_run_and_none_answered_wrongly(zoo: Any) -> None:
    rows, results = zoo
    assert results.keys() <= rows.keys()
    assert len(results) >= 60
    assert [name for name, result in results.items() if result.state == "failed"] == []


def test_most_main_modules_are_compiled_and_others_stay_eager_as_they_must(zoo: Any) -> None:
    rows, results = zoo
    free = [name for name in results if rows[name].stays_eager is None]
    assert sum(results[name].state == "compiled" for name in free) >= 0.85 * len(free)
    for name in results.keys() - free:
        assert results[name].state == "eager", name
        assert rows[name].stays_eager in results[name].reason, name
