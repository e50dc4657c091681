"""docs/chaos.md is what the results say, and what judges answers under a fault lets nothing pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def test_the_page_is_what_the_results_say() -> None:
    from benchmarks.chaos.document import FILE, document_text
    from benchmarks.chaos.faults import FAULTS
    from benchmarks.chaos.results import read_rows
    from benchmarks.ownership.results import read_proof
    from benchmarks.soak.results import read_soak

    assert FILE.read_text() == document_text(FAULTS, read_rows(), read_proof(), read_soak())


def test_what_was_played_held() -> None:
    from benchmarks.chaos.results import read_rows

    assert {name: row.examples for name, row in read_rows().items() if row.wrong or row.lost} == {}


def answer(number: int, **changes: Any) -> bytes:
    from benchmarks.chaos.traffic import payload_of

    row = payload_of(number)["row"]
    assert isinstance(row, list)
    return json.dumps({"id": number, "scores": [value + 6.0 for value in row], **changes}).encode()


def test_an_answer_is_right_if_it_is_its_own() -> None:
    from benchmarks.chaos.traffic import judge

    assert judge(7, 200, answer(7), None)[0] == "right"
    for other in (answer(8), answer(7, id=8), answer(7, scores=[1.0, 2.0, 3.0, 4.0]), answer(7, scores=[]), b"x", b"1"):
        assert judge(7, 200, other, None)[0] == "wrong"


@pytest.mark.parametrize(
    ("status", "body", "retry_after", "kind"),
    [
        (503, b'{"error": "the model is not ready; try again"}', "1", "error"),
        (503, b'{"error": "the model is not ready; try again"}', None, "wrong"),
        (500, b"internal server error", None, "error"),
        (500, b"", None, "wrong"),
        (500, b'Traceback (most recent call last): File "predictor.py"', None, "wrong"),
        (503, b"/dev/shm/cortex-compile-1-2-3 is gone", "1", "wrong"),
        (302, b"elsewhere", None, "wrong"),
    ],
)
def test_an_error_is_clear_or_wrong(status: int, body: bytes, retry_after: str | None, kind: str) -> None:
    from benchmarks.chaos.traffic import judge

    assert judge(7, status, body, retry_after)[0] == kind


def test_what_a_fault_does_not_allow_counts() -> None:
    from benchmarks.chaos.stage import Row, Stage
    from benchmarks.chaos.traffic import Sent

    stage = Stage({}, quick=True)
    right = Sent("near", began=10.0, ended=11.0, kind="right", status=200)
    error, cut = replace(right, kind="error", status=503), replace(right, kind="cut", status=0)
    for sent, options, counted in (
        (right, {}, "right"),
        (error, {}, "wrong"),
        (error, {"statuses": (503,)}, "errors"),
        (cut, {}, "lost"),
        (cut, {"cut_before": 10.5}, "cut"),
        (cut, {"cut_before": 9.5}, "lost"),
    ):
        stage.row = Row("x")
        stage.record([sent], **options)
        assert getattr(stage.row, counted) == stage.row.requests == 1
        assert stage.row.held is (counted not in ("wrong", "lost"))
